//! What the transport asks of a device.

use std::io;
use std::sync::Arc;

use super::failure::Failure;
use super::interrupt::Interrupt;
use super::queue::Queue;
use super::worker::Worker;
use crate::memory::GuestMemory;

/// The front end of a virtio device: what it is, and how its worker starts.
pub trait VirtioDevice: Send {
    /// Names the worker's thread; at most 15 bytes.
    fn name(&self) -> &'static str;

    /// Device type (VirtIO 1.2, 5).
    fn id(&self) -> u32;

    /// Features offered, including those of [`super::feature`].
    fn features(&self) -> u64;

    /// Largest size of each queue, powers of two. A driver must set up all of them.
    fn queue_sizes(&self) -> &[u16];

    /// Changes whenever the configuration space did (VirtIO 1.2, 2.5.1).
    fn config_generation(&self) -> u32 {
        0
    }

    /// Reads the configuration space, whose bytes behind the end read as zeros. No device here has
    /// fields that the driver may write, so there is no counterpart.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// The driver is ready: starts the worker. Called again after each reset, which drops the worker.
    fn activate(&mut self, activation: Activation) -> io::Result<Worker>;
}

/// All that a worker needs, moved into it.
pub struct Activation {
    pub memory: Arc<GuestMemory>,
    /// Features that the driver accepted.
    pub features: u64,
    /// One for each of the device's queue sizes, in that order.
    pub queues: Vec<Queue>,
    pub interrupt: Interrupt,
    pub failure: Failure,
}

impl Activation {
    /// The queues as an array, for a device that has `N` of them.
    pub(super) fn take_queues<const N: usize>(&mut self) -> io::Result<[Queue; N]> {
        std::mem::take(&mut self.queues).try_into().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "activated with a wrong number of queues")
        })
    }
}

/// Copies from a configuration space given as bytes.
pub(super) fn read_config_bytes(config: &[u8], offset: u64, data: &mut [u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = config.get(start..).unwrap_or_default();
    let count = rest.len().min(data.len());
    let (known, unknown) = data.split_at_mut(count);
    known.copy_from_slice(&rest[..count]);
    unknown.fill(0);
}
