//! Guest memory: where it lies in the guest ([`layout`]) and how it is mapped here ([`regions`]).
//!
//! Only this module knows that the memory is private and anonymous; everything else goes through
//! [`GuestMemory`], which checks each address and hands out no references.

pub mod layout;
pub mod regions;

pub use regions::{MemoryError, allocate};

/// The guest's memory, shared between vCPUs and device workers as an `Arc`.
pub type GuestMemory = vm_memory::GuestMemoryMmap<()>;
