//! The bytes of a file.

use std::os::fd::OwnedFd;

use rustix::fs::{SeekFrom, ftruncate, seek};
use rustix::io::{Errno, read, retry_on_intr, write};

/// Bytes read at a time. The kernel itself would copy in no other way between two file systems, if it does at all:
/// overlayfs shares no extents with what is outside it.
const CHUNK: usize = 256 * 1024;

pub struct Chunk(Vec<u8>);

impl Chunk {
    pub fn new() -> Self {
        Chunk(vec![0; CHUNK])
    }

    /// Copies a file into an empty one: what is a hole in it stays one.
    pub fn copy(&mut self, from: &OwnedFd, to: &OwnedFd, size: u64) -> Result<(), Errno> {
        let mut at = 0;
        while at < size {
            let (begin, end) = match seek(from, SeekFrom::Data(at)) {
                // Nothing but a hole is left.
                Err(Errno::NXIO) => break,
                // A file system that does not tell.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => (at, size),
                begin => {
                    let begin = begin?;
                    (begin, seek(from, SeekFrom::Hole(begin))?.min(size))
                }
            };
            self.copy_range(from, to, begin, end)?;
            at = end.max(begin + 1);
        }
        ftruncate(to, size)
    }

    fn copy_range(&mut self, from: &OwnedFd, to: &OwnedFd, begin: u64, end: u64) -> Result<(), Errno> {
        seek(from, SeekFrom::Start(begin))?;
        seek(to, SeekFrom::Start(begin))?;
        let mut left = end.saturating_sub(begin);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let room = self.0.get_mut(..most).unwrap_or_default();
            let n = retry_on_intr(|| read(from, &mut *room))?;
            if n == 0 {
                return Ok(());
            }
            let mut rest = self.0.get(..n).unwrap_or_default();
            while !rest.is_empty() {
                let written = retry_on_intr(|| write(to, rest))?;
                rest = rest.get(written..).unwrap_or_default();
            }
            left -= n as u64;
        }
        Ok(())
    }
}
