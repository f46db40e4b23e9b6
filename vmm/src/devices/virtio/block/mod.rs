//! virtio-blk (VirtIO 1.2, 5.2): disks in use, and slots that become disks while the machine runs.
//!
//! Sectors have 512 bytes, the size a driver assumes when VIRTIO_BLK_F_BLK_SIZE is not offered: an
//! empty slot shows a single one, and files of any sector count fit. File systems ask for 4096 bytes
//! at a time whatever the disk says.

mod backend;
mod flat;
mod raw;
mod request;
mod slot;
mod task;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::sync::Arc;

pub use backend::BackendError;
pub use slot::{DiskHandle, FillError};

use self::backend::Backend;
use self::flat::FlatFiles;
use self::raw::RawFile;
use self::slot::Disk;
use self::task::BlockTask;
use super::alarm::Alarm;
use super::device::{Activation, VirtioDevice, read_config_bytes};
use super::feature;
use super::worker::Worker;

/// Bytes of a sector, the unit of all addresses (VirtIO 1.2, 5.2.4).
const SECTOR: u64 = 512;
const DEVICE_ID: u32 = 2;

/// Chains in flight. Guest memory follows the queue's size, a few KiB a chain, so slots have less.
const DISK_QUEUE: [u16; 1] = [128];
const SLOT_QUEUE: [u16; 1] = [64];

/// Bytes of one buffer of a chain.
const SIZE_MAX: u32 = 1 << 20;
/// Sectors of one discarded range: 2 GiB.
const MAX_DISCARD_SECTORS: u32 = 1 << 22;
/// Sectors of one zeroed range, 128 MiB: zeros may have to be written out.
const MAX_ZERO_SECTORS: u32 = 1 << 18;
/// Ranges in one request to discard or zero.
const MAX_RANGES: u32 = 32;
/// Discarding less than a page frees nothing on most host file systems.
const DISCARD_ALIGNMENT_SECTORS: u32 = 8;

/// Feature bits (VirtIO 1.2, 5.2.3).
const F_SIZE_MAX: u64 = 1 << 1;
const F_SEG_MAX: u64 = 1 << 2;
const F_RO: u64 = 1 << 5;
const F_FLUSH: u64 = 1 << 9;
const F_DISCARD: u64 = 1 << 13;
const F_WRITE_ZEROES: u64 = 1 << 14;

/// A block device.
pub struct Block {
    disk: Arc<Disk>,
    queue: &'static [u16; 1],
}

impl Block {
    /// Several files shown one behind the other as one read-only disk: each with the sector that its
    /// first byte lies at, ascending and without overlap. What no file covers reads as zeros.
    pub fn read_only(segments: Vec<(File, u64)>) -> Result<Self, BackendError> {
        let backend = Backend::Flat(FlatFiles::new(segments)?);
        Ok(Self { disk: Arc::new(Disk::filled(backend)), queue: &DISK_QUEUE })
    }

    /// A raw file, shown whole; what is behind its last full sector is not.
    pub fn read_write(file: File) -> Result<Self, BackendError> {
        let backend = Backend::Raw(RawFile::new(file)?);
        Ok(Self { disk: Arc::new(Disk::filled(backend)), queue: &DISK_QUEUE })
    }

    /// A device that shows one sector of zeros until its handle fills it. Whether it can be written
    /// is fixed from the start: drivers read that once, at probe.
    pub fn empty_slot(read_only: bool) -> Self {
        Self { disk: Arc::new(Disk::empty(read_only)), queue: &SLOT_QUEUE }
    }

    /// What the host does to the disk once the device is the guest's.
    pub fn handle(&self) -> DiskHandle {
        DiskHandle::new(Arc::clone(&self.disk))
    }

    /// Buffers of one request: a chain has as many as the queue, less its header and its status.
    fn seg_max(&self) -> u32 {
        let [size] = *self.queue;
        u32::from(size).saturating_sub(2)
    }

    /// struct virtio_blk_config (VirtIO 1.2, 5.2.4).
    fn config(&self) -> [u8; 60] {
        let mut config = [0; 60];
        config[..8].copy_from_slice(&self.disk.capacity().to_le_bytes());
        let mut field = |offset: usize, value: u32| {
            config[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        };
        field(8, SIZE_MAX);
        field(12, self.seg_max());
        if !self.disk.is_read_only() {
            field(36, MAX_DISCARD_SECTORS);
            field(40, MAX_RANGES);
            field(44, DISCARD_ALIGNMENT_SECTORS);
            field(48, MAX_ZERO_SECTORS);
            field(52, MAX_RANGES);
            // write_zeroes_may_unmap, one byte.
            field(56, 1);
        }
        config
    }
}

impl VirtioDevice for Block {
    fn name(&self) -> &'static str {
        "blk"
    }

    fn id(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self) -> u64 {
        let kind = if self.disk.is_read_only() { F_RO } else { F_FLUSH | F_DISCARD | F_WRITE_ZEROES };
        feature::COMMON | F_SIZE_MAX | F_SEG_MAX | kind
    }

    fn queue_sizes(&self) -> &[u16] {
        self.queue
    }

    fn config_generation(&self) -> u32 {
        self.disk.generation()
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&self.config(), offset, data);
    }

    fn activate(&mut self, mut activation: Activation) -> io::Result<Worker> {
        let [requests] = activation.take_queues()?;
        let Activation { memory, features, interrupt, failure, .. } = activation;
        self.disk.attach(interrupt.clone(), requests.shared_kick());
        let task = BlockTask {
            disk: Arc::clone(&self.disk),
            memory,
            requests,
            interrupt: interrupt.clone(),
            max_bytes: u64::from(self.seg_max()) * u64::from(SIZE_MAX),
            // Without the flush command the driver takes a write for durable once it is answered.
            write_through: features & F_FLUSH == 0,
            due: Alarm::default(),
        };
        Worker::spawn(self.name(), task, interrupt, failure)
    }
}
