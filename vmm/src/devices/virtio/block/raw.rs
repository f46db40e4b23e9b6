//! A raw file as a disk that can be written.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::SECTOR;
use super::backend::{BackendError, retry};
use crate::devices::virtio::chain::Slices;
use crate::devices::virtio::iovec;

/// Written where the host cannot zero a range by itself.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

pub struct RawFile {
    file: File,
    /// In sectors.
    capacity: u64,
}

impl RawFile {
    pub fn new(mut file: File) -> Result<Self, BackendError> {
        let len =
            file.seek(SeekFrom::End(0)).map_err(|source| BackendError::Length { segment: 0, source })?;
        match len / SECTOR {
            0 => Err(BackendError::Empty),
            capacity => Ok(Self { file, capacity }),
        }
    }

    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    pub fn read(&self, offset: u64, buffers: Slices<'_>) -> io::Result<()> {
        self.transfer(offset, buffers, |buffers, offset| iovec::read_at(self.file.as_fd(), buffers, offset))
    }

    pub fn write(&self, offset: u64, buffers: Slices<'_>) -> io::Result<()> {
        self.transfer(offset, buffers, |buffers, offset| iovec::write_at(self.file.as_fd(), buffers, offset))
    }

    /// All that was written is on the disk below.
    pub fn flush(&self) -> io::Result<()> {
        retry(|| self.file.sync_data())
    }

    /// Gives the range back to the host. A hint: where the host's file system has no holes, nothing
    /// happens.
    pub fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        match self.allocate(FallocateFlags::FALLOC_FL_PUNCH_HOLE, offset, len) {
            Err(Errno::EOPNOTSUPP) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// The range reads as zeros from now on. `unmap`: its blocks may be given back to the host. Returns
    /// the bytes that had to be written for it.
    pub fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<u64> {
        let mode =
            if unmap { FallocateFlags::FALLOC_FL_PUNCH_HOLE } else { FallocateFlags::FALLOC_FL_ZERO_RANGE };
        match self.allocate(mode, offset, len) {
            Err(Errno::EOPNOTSUPP) => self.write_out_zeroes(offset, len).map(|()| len),
            outcome => Ok(outcome.map(|()| 0)?),
        }
    }

    fn write_out_zeroes(&self, mut offset: u64, mut len: u64) -> io::Result<()> {
        while len > 0 {
            let count = usize::try_from(len).map_or(ZEROS.len(), |len| len.min(ZEROS.len()));
            self.file.write_all_at(&ZEROS[..count], offset)?;
            let count = u64::try_from(count).unwrap_or(len);
            offset = offset.saturating_add(count);
            len -= count;
        }
        Ok(())
    }

    fn allocate(&self, mode: FallocateFlags, offset: u64, len: u64) -> nix::Result<()> {
        let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else {
            return Err(Errno::EFBIG);
        };
        loop {
            match fallocate(&self.file, mode | FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, len) {
                Err(Errno::EINTR) => {}
                outcome => return outcome,
            }
        }
    }

    fn transfer(
        &self,
        mut offset: u64,
        mut buffers: Slices<'_>,
        call: impl Fn(&Slices<'_>, u64) -> io::Result<usize>,
    ) -> io::Result<()> {
        while !buffers.is_empty() {
            let count = retry(|| call(&buffers, offset))?;
            if count == 0 {
                // The file is shorter than it was: its bytes are lost, not zero.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffers.advance(count);
            offset = offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}
