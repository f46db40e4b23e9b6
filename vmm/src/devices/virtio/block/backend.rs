//! What a disk's bytes come from, behind one set of typed operations.

use std::io;

use super::flat::FlatFiles;
use super::raw::RawFile;
use crate::devices::virtio::chain::Slices;

#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error("Failed to find the length of the file of segment {segment}")]
    Length {
        segment: usize,
        #[source]
        source: io::Error,
    },
    #[error(
        "Segment {segment} of the disk, at sector {start_sector}, overlaps the one before or is out of reach"
    )]
    Placement { segment: usize, start_sector: u64 },
    #[error("The disk has no sectors")]
    Empty,
}

/// Offsets and lengths are in bytes and inside of the capacity: the task has checked them.
pub enum Backend {
    Flat(FlatFiles),
    Raw(RawFile),
}

impl Backend {
    pub fn is_read_only(&self) -> bool {
        self.raw().is_none()
    }

    /// In sectors; never zero.
    pub fn capacity(&self) -> u64 {
        match self {
            Self::Flat(files) => files.capacity(),
            Self::Raw(file) => file.capacity(),
        }
    }

    /// Fills all of `buffers`.
    pub fn read(&self, offset: u64, buffers: Slices<'_>) -> io::Result<()> {
        match self {
            Self::Flat(files) => files.read(offset, buffers),
            Self::Raw(file) => file.read(offset, buffers),
        }
    }

    /// The operations that change the disk, if it can be changed.
    pub fn raw(&self) -> Option<&RawFile> {
        match self {
            Self::Flat(_) => None,
            Self::Raw(file) => Some(file),
        }
    }
}

/// Runs a call again for as long as a signal interrupts it.
pub(super) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
