//! What the guest sees besides CPUs and memory.

pub mod bus;
pub mod irq;
