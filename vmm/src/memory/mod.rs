//! Guest memory: where it lies in the guest ([`layout`]) and how it is mapped here ([`regions`]).
//!
//! Private and anonymous, or a file in memory that another process maps too: only this module knows which.
//! Everything else goes through [`GuestMemory`], which checks each address and hands out no references.

pub mod layout;
pub mod regions;

pub use regions::{MemoryError, allocate, allocate_shared, discard_advice};

/// The guest's memory, shared between vCPUs and device workers as an `Arc`.
pub type GuestMemory = vm_memory::GuestMemoryMmap<()>;
