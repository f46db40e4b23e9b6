//! What the guest sees besides CPUs and memory.

pub mod bus;
pub mod i8042;
pub mod irq;
pub mod serial;
pub mod virtio;
