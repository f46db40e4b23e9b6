//! Containers: what the user asked for, what is kept of it, and what the agent is told.

pub mod attach;
pub mod caps;
pub mod config;
pub mod create;
pub mod env;
pub mod exec;
pub mod health;
pub mod inspect;
pub mod life;
pub mod limits;
pub mod list;
pub mod log;
pub mod names;
pub mod reach;
pub mod remove;
pub mod restart;
pub mod run;
pub mod signals;
pub mod size;
pub mod spec;
pub mod start;
pub mod stats;
pub mod tmpfs;
pub mod top;
pub mod update;
pub mod written;
