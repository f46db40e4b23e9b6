//! A flat list of files as one read-only disk.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsFd;

use super::SECTOR;
use super::backend::{BackendError, retry};
use crate::devices::virtio::chain::{Short, Slices};
use crate::devices::virtio::iovec;

/// Each file's bytes start at a sector of its own; what lies between reads as zeros.
pub struct FlatFiles {
    /// Ascending, without overlaps.
    segments: Vec<Segment>,
    /// In sectors.
    capacity: u64,
}

/// In bytes of the disk.
struct Segment {
    start: u64,
    /// As it was when the disk was made: a file that grows shows nothing more.
    end: u64,
    file: File,
}

impl FlatFiles {
    pub fn new(files: Vec<(File, u64)>) -> Result<Self, BackendError> {
        let mut segments = Vec::<Segment>::with_capacity(files.len());
        let mut covered = 0;
        for (segment, (mut file, start_sector)) in files.into_iter().enumerate() {
            let len =
                file.seek(SeekFrom::End(0)).map_err(|source| BackendError::Length { segment, source })?;
            let start = start_sector.checked_mul(SECTOR).filter(|start| *start >= covered);
            let range = start.and_then(|start| Some((start, start.checked_add(len)?)));
            let (start, end) = range.ok_or(BackendError::Placement { segment, start_sector })?;
            covered = end;
            segments.push(Segment { start, end, file });
        }
        match covered.div_ceil(SECTOR) {
            0 => Err(BackendError::Empty),
            capacity => Ok(Self { segments, capacity }),
        }
    }

    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    pub fn read(&self, mut offset: u64, mut buffers: Slices<'_>) -> io::Result<()> {
        while !buffers.is_empty() {
            let (segment, until) = self.find(offset);
            let rest = usize::try_from(until - offset).unwrap_or(usize::MAX);
            let count = buffers.len().min(rest);
            let mut part = buffers.take(count).map_err(|Short| io::ErrorKind::InvalidInput)?;
            if let Some(segment) = segment {
                read_fully(&segment.file, offset - segment.start, &mut part)?;
            }
            // Between segments, or a file that lost its end since.
            part.zero();
            offset = until.min(offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX)));
        }
        Ok(())
    }

    /// What lies at `offset`, and up to where. The end is always behind `offset`.
    fn find(&self, offset: u64) -> (Option<&Segment>, u64) {
        let after = self.segments.partition_point(|segment| segment.start <= offset);
        let here = after.checked_sub(1).and_then(|index| self.segments.get(index));
        match here.filter(|segment| offset < segment.end) {
            Some(segment) => (Some(segment), segment.end),
            None => (None, self.segments.get(after).map_or(u64::MAX, |next| next.start)),
        }
    }
}

/// Reads until the buffers are full or the file ends; leaves what is not filled.
fn read_fully(file: &File, mut offset: u64, buffers: &mut Slices<'_>) -> io::Result<()> {
    while !buffers.is_empty() {
        let count = retry(|| iovec::read_at(file.as_fd(), buffers, offset))?;
        if count == 0 {
            return Ok(());
        }
        buffers.advance(count);
        offset = offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
    Ok(())
}
