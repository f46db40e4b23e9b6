//! One process, one virtual machine: the library behind `hull-vmm`.
//!
//! ```text
//!  main thread: control socket, events      vCPU threads                   device threads
//!  config ─► files ─► jail ─► machine ─► run: enter the guest, exits ─► bus ─► virtio queues
//! ```
//!
//! [`config`] and [`control`] are what the machine's maker speaks to it with; [`machine`] builds it,
//! [`lifecycle`] says how it ended. The guest is hostile: nothing it writes may panic this process.

pub mod arch;
pub mod boot;
pub mod config;
pub mod control;
pub mod devices;
mod event_loop;
pub mod files;
pub mod jail;
pub mod kvm;
pub mod lifecycle;
pub mod machine;
pub mod memory;
mod run;

pub use run::run;
