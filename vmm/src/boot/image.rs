//! A kernel file as `linux-loader` wants to read it, without a system call a piece.
//!
//! Mapped and copied from there, not read: read(2) spends a thousand instructions on each page of a
//! kernel's twelve megabytes, which is a third of all that happens before the guest's first
//! instruction. The file is the host's own; one that is truncated under the mapping kills this process
//! (SIGBUS) before there is a guest.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use vm_memory::bitmap::BitmapSlice;
use vm_memory::mmap::{MmapRegion, MmapRegionBuilder};
use vm_memory::{FileOffset, ReadVolatile, VolatileMemory, VolatileMemoryError, VolatileSlice};

/// A whole file, mapped and present.
pub struct Image {
    mapping: MmapRegion<()>,
    position: usize,
}

impl Image {
    pub fn map(file: &File, size: u64) -> io::Result<Self> {
        let size = usize::try_from(size).map_err(io::Error::other)?;
        let builder = MmapRegionBuilder::<()>::new(size)
            .with_file_offset(FileOffset::new(file.try_clone()?, 0))
            .with_mmap_prot(libc::PROT_READ)
            .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_POPULATE);
        Ok(Self { mapping: builder.build().map_err(io::Error::other)?, position: 0 })
    }

    /// The next `len` bytes, or as many as there are.
    fn take(&mut self, len: usize) -> Result<VolatileSlice<'_>, VolatileMemoryError> {
        let start = self.position.min(self.mapping.size());
        let count = len.min(self.mapping.size() - start);
        self.position = start + count;
        self.mapping.get_slice(start, count)
    }
}

impl ReadVolatile for Image {
    fn read_volatile<B: BitmapSlice>(
        &mut self,
        buffer: &mut VolatileSlice<'_, B>,
    ) -> Result<usize, VolatileMemoryError> {
        let bytes = self.take(buffer.len())?;
        bytes.copy_to_volatile_slice(buffer.offset(0)?);
        Ok(bytes.len())
    }
}

impl Read for Image {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.take(buffer.len()).map_err(io::Error::other)?;
        Ok(bytes.copy_to(buffer))
    }
}

impl Seek for Image {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, offset) = match to {
            SeekFrom::Start(offset) => (0, i64::try_from(offset).map_err(io::Error::other)?),
            SeekFrom::Current(offset) => (self.position, offset),
            SeekFrom::End(offset) => (self.mapping.size(), offset),
        };
        let position = i64::try_from(base).ok().and_then(|base| base.checked_add(offset));
        let position = position.and_then(|position| usize::try_from(position).ok());
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn image_reads_and_seeks_like_its_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut image = Image::map(&file, 10).unwrap();
        let mut bytes = [0; 4];
        image.seek(SeekFrom::End(-6)).unwrap();
        image.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"4567");
        assert_eq!(image.read(&mut bytes).unwrap(), 2);
        assert_eq!(image.read(&mut bytes).unwrap(), 0);
        assert_eq!(image.seek(SeekFrom::Start(100)).unwrap(), 100);
        assert_eq!(image.read(&mut bytes).unwrap(), 0);
        assert!(image.seek(SeekFrom::End(-11)).is_err());
        assert!(image.seek(SeekFrom::Start(u64::MAX)).is_err());
    }

    #[test]
    fn empty_file_is_no_image() {
        assert!(Image::map(&tempfile::tempfile().unwrap(), 0).is_err());
    }
}
