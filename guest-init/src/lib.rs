//! hull's agent: sets containers up and runs them, as PID 1 of a virtual machine or on the host, by the
//! same code. `protocol` is its contract with the host.

pub mod agent;
pub mod archive;
pub mod beneath;
pub mod boot;
mod clock;
pub mod container;
mod error;
pub mod host;
pub mod loopdev;
pub mod netlink;
mod network;
mod power;
mod process;
pub mod protocol;
mod sys;

pub use error::StepError;
