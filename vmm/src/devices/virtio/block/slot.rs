//! The disk behind a block device, and the handle that fills an empty one.

use std::fs::File;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use vmm_sys_util::eventfd::EventFd;

use super::backend::{Backend, BackendError};
use super::flat::FlatFiles;
use super::raw::RawFile;
use crate::config::DiskLimits;
use crate::devices::virtio::interrupt::Interrupt;
use crate::devices::virtio::throttle::{Limit, Throttle};

/// Sectors that an empty slot shows. Never zero: Linux announces no change from or to zero.
const EMPTY_SECTORS: u64 = 1;

/// Why a slot stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    #[error("The disk is not a slot")]
    NotASlot,
    #[error("The slot is filled already")]
    Filled,
    #[error("The slot is read-only, the disk is not")]
    ReadOnly,
    #[error("The slot is read-write, the disk is read-only")]
    ReadWrite,
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// The device side of a driver that is up.
struct Attached {
    interrupt: Interrupt,
    /// Where the queue's notifications arrive.
    kick: Arc<EventFd>,
}

/// Shared by a device's registers, its worker and its [`DiskHandle`].
pub(super) struct Disk {
    read_only: bool,
    /// Was empty when the device was made.
    slot: bool,
    /// Set at most once: a disk is never taken away from a running guest.
    backend: OnceLock<Backend>,
    /// Outlives each activation, so that a reset pays no debts.
    throttle: Throttle,
    /// There once the device was activated for the first time.
    attached: Mutex<Option<Attached>>,
}

impl Disk {
    pub fn filled(backend: Backend) -> Self {
        Self::new(backend.is_read_only(), false, OnceLock::from(backend))
    }

    pub fn empty(read_only: bool) -> Self {
        Self::new(read_only, true, OnceLock::new())
    }

    fn new(read_only: bool, slot: bool, backend: OnceLock<Backend>) -> Self {
        Self { read_only, slot, backend, throttle: Throttle::default(), attached: Mutex::new(None) }
    }

    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// None: an empty slot.
    pub fn backend(&self) -> Option<&Backend> {
        self.backend.get()
    }

    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// In sectors.
    pub fn capacity(&self) -> u64 {
        self.backend().map_or(EMPTY_SECTORS, Backend::capacity)
    }

    /// Goes up with the only change there can be, in the same step: a driver that reads it before and
    /// after the two halves of the capacity sees halves of one value.
    pub fn generation(&self) -> u32 {
        self.backend().is_some().into()
    }

    /// The device goes live. The driver may have read the capacity before the slot was filled, while
    /// nobody could be told; so it is told now.
    pub fn attach(&self, interrupt: Interrupt, kick: Arc<EventFd>) {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        if self.slot && self.backend().is_some() {
            interrupt.config_change();
        }
        *attached = Some(Attached { interrupt, kick });
    }

    fn fill(&self, backend: Backend) -> Result<u64, FillError> {
        if !self.slot {
            return Err(FillError::NotASlot);
        }
        match (self.read_only, backend.is_read_only()) {
            (true, false) => return Err(FillError::ReadOnly),
            (false, true) => return Err(FillError::ReadWrite),
            (true, true) | (false, false) => {}
        }
        let capacity = backend.capacity();
        self.backend.set(backend).map_err(|_| FillError::Filled)?;
        if let Some(Attached { interrupt, .. }) =
            &*self.attached.lock().unwrap_or_else(PoisonError::into_inner)
        {
            interrupt.config_change();
        }
        Ok(capacity)
    }

    /// A request that waits under the limits of before is looked at again.
    fn limit(&self, limits: &DiskLimits) {
        let DiskLimits { read_bps, write_bps, read_iops, write_iops } = *limits;
        let reads = Limit { bytes: read_bps, operations: read_iops };
        self.throttle.set(reads, Limit { bytes: write_bps, operations: write_iops });
        if let Some(Attached { kick, .. }) = &*self.attached.lock().unwrap_or_else(PoisonError::into_inner) {
            // Fails only when the counter is full: then the event is readable already.
            let _ = kick.write(1);
        }
    }
}

/// Fills an empty slot and limits a disk, from any thread, whether the guest's driver is up or not.
#[derive(Clone)]
pub struct DiskHandle(Arc<Disk>);

impl DiskHandle {
    pub(super) fn new(disk: Arc<Disk>) -> Self {
        Self(disk)
    }

    /// As [`super::Block::read_only`]. Returns the capacity that the guest will see, in sectors.
    pub fn fill_read_only(&self, segments: Vec<(File, u64)>) -> Result<u64, FillError> {
        self.0.fill(Backend::Flat(FlatFiles::new(segments)?))
    }

    /// As [`super::Block::read_write`]. Returns the capacity that the guest will see, in sectors.
    pub fn fill_read_write(&self, file: File) -> Result<u64, FillError> {
        self.0.fill(Backend::Raw(RawFile::new(file)?))
    }

    /// Holds the disk to these rates from now on, with a burst to begin with. None of them is zero.
    pub fn limit(&self, limits: &DiskLimits) {
        self.0.limit(limits);
    }

    pub fn is_filled(&self) -> bool {
        self.0.backend().is_some()
    }
}
