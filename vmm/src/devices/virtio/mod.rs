//! Virtio devices, modern only (VirtIO 1.2).
//!
//! ```text
//!   vCPU thread                             device's own thread
//!   mmio (registers, status) ──activate──►  worker ── task: rng, block, ...
//!      │                                      │ owns the queues ([`queue`])
//!      └─ device (features, config space)     │ walks chains ([`chain`]), moves bytes ([`iovec`])
//!                                             └─ interrupt ──► irq line
//! ```
//!
//! A device is a front end ([`device::VirtioDevice`]) that answers for features and configuration, and
//! a worker that exists from DRIVER_OK to reset and owns the queues for that time. The guest is
//! hostile: whatever it writes into registers, rings and buffers is copied once and the copy checked.
//! What it breaks, breaks for itself: the device sets DEVICE_NEEDS_RESET and waits.

mod alarm;
pub mod balloon;
pub mod block;
pub mod chain;
pub mod device;
pub mod failure;
pub mod fs;
pub mod interrupt;
mod iovec;
pub mod mmio;
pub mod net;
pub mod queue;
pub mod rng;
mod status;
mod throttle;
pub mod vsock;
pub mod worker;

#[cfg(test)]
mod driver;
#[cfg(test)]
mod suite;

/// Feature bits that belong to no device type (VirtIO 1.2, 6).
pub mod feature {
    /// Chains may lie in a table of their own.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Both sides say at which index they want the next notification.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// The device is not a legacy one; must be accepted.
    pub const VERSION_1: u64 = 1 << 32;

    /// What the queues of this implementation can do, whatever the device.
    pub const COMMON: u64 = INDIRECT_DESC | EVENT_IDX | VERSION_1;
}
