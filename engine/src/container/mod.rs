//! Containers: what the user asked for, and what the agent is told.

pub mod caps;
pub mod env;
pub mod limits;
pub mod names;
pub mod record;
pub mod run;
pub mod size;
pub mod spec;
pub mod tmpfs;
