//! One process, one virtual machine: the library behind `hull-vmm`.
//!
//! [`config`] and [`control`] are what the machine's maker speaks to it with; [`machine`] builds it,
//! [`lifecycle`] says how it ended. The guest is hostile: nothing it writes may panic this process.

pub mod config;
pub mod devices;
pub mod memory;
