//! The disk behind a block device, and the handle that fills an empty one.

use std::fs::File;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::backend::{Backend, BackendError};
use super::flat::FlatFiles;
use super::raw::RawFile;
use crate::devices::virtio::interrupt::Interrupt;

/// Sectors that an empty slot shows. Never zero: Linux announces no change from or to zero.
const EMPTY_SECTORS: u64 = 1;

/// Why a slot stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    #[error("The slot is filled already")]
    Filled,
    #[error("The slot is read-only, the disk is not")]
    ReadOnly,
    #[error("The slot is read-write, the disk is read-only")]
    ReadWrite,
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Shared by a device's registers, its worker and its [`SlotHandle`].
pub(super) struct Disk {
    read_only: bool,
    /// Was empty when the device was made.
    slot: bool,
    /// Set at most once: a disk is never taken away from a running guest.
    backend: OnceLock<Backend>,
    /// There once the device was activated for the first time.
    interrupt: Mutex<Option<Interrupt>>,
}

impl Disk {
    pub fn filled(backend: Backend) -> Self {
        let (read_only, backend) = (backend.is_read_only(), OnceLock::from(backend));
        Self { read_only, slot: false, backend, interrupt: Mutex::new(None) }
    }

    pub fn empty(read_only: bool) -> Self {
        Self { read_only, slot: true, backend: OnceLock::new(), interrupt: Mutex::new(None) }
    }

    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// None: an empty slot.
    pub fn backend(&self) -> Option<&Backend> {
        self.backend.get()
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
    pub fn attach(&self, interrupt: Interrupt) {
        let mut attached = self.interrupt.lock().unwrap_or_else(PoisonError::into_inner);
        if self.slot && self.backend().is_some() {
            interrupt.config_change();
        }
        *attached = Some(interrupt);
    }

    fn fill(&self, backend: Backend) -> Result<u64, FillError> {
        match (self.read_only, backend.is_read_only()) {
            (true, false) => return Err(FillError::ReadOnly),
            (false, true) => return Err(FillError::ReadWrite),
            (true, true) | (false, false) => {}
        }
        let capacity = backend.capacity();
        self.backend.set(backend).map_err(|_| FillError::Filled)?;
        if let Some(interrupt) = &*self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) {
            interrupt.config_change();
        }
        Ok(capacity)
    }
}

/// Fills an empty slot, from any thread, whether the guest's driver is up or not.
#[derive(Clone)]
pub struct SlotHandle(Arc<Disk>);

impl SlotHandle {
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

    pub fn is_filled(&self) -> bool {
        self.0.backend().is_some()
    }
}
