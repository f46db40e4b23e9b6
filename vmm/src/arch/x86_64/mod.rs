//! An x86_64 PC without legacy: 64-bit entry, MP table, an edge-only IOAPIC.

pub mod boot;
pub mod cpuid;
pub mod irqchip;
pub mod mptable;
pub mod msr;
pub mod paging;
