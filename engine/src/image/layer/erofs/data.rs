//! File data of a layer, block-aligned, in the order in which they come.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::ErofsError;
use super::format::{BLOCK, BLOCK_LEN, MAX_CHUNK_BITS, align, blocks};
use crate::image::layer::tar::Fragment;
use crate::store::files;

/// Bytes gathered before they are written.
const BUFFER: usize = 1 << 20;
/// Addresses end here: 2^32 blocks, of which the last number means a hole.
const MAX_END: u64 = (u32::MAX as u64 - 1) * BLOCK;
/// Chunks that a sparse file may always have; more only with more fragments, so that a short tar
/// cannot ask for a long table.
const MIN_CHUNKS: u64 = 1024;
/// Zeros that are worth a write less.
const HOLE_BYTES: u64 = 64 * 1024;

/// Writes data from block 1 on. Runs of zeros are left as holes of the layer file.
pub struct DataWriter<'a> {
    file: &'a File,
    /// Where the buffer's first byte goes; a multiple of the block size.
    start: u64,
    buffer: Vec<u8>,
    filled: usize,
    /// Where that ends which the disk has been told of.
    told: u64,
    /// Bytes laid out but for long holes, and how many may be. Padding counts: a short tar could ask
    /// for a block with each byte.
    taken: u64,
    limit: u64,
}

impl<'a> DataWriter<'a> {
    pub fn new(file: &'a File, limit: u64) -> Self {
        Self { file, start: BLOCK, buffer: vec![0; BUFFER], filled: 0, told: 0, taken: 0, limit }
    }

    /// Where the next byte goes in the file.
    pub fn position(&self) -> u64 {
        self.start + self.filled as u64
    }

    fn check_end(&self, length: u64) -> Result<(), ErofsError> {
        match self.position().checked_add(length) {
            Some(end) if end <= MAX_END => Ok(()),
            _ => Err(ErofsError::TooLarge(MAX_END)),
        }
    }

    /// The block that the next byte goes to, at a block's start.
    pub fn block(&self) -> Result<u32, ErofsError> {
        u32::try_from(self.position() / BLOCK).map_err(|_| ErofsError::TooLarge(MAX_END))
    }

    /// Takes `length` bytes from `read`, which fills some of what it is given and never reports an end.
    pub fn fill<E: From<ErofsError>>(
        &mut self,
        mut length: u64,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let taken = self.taken.saturating_add(length);
        if taken > self.limit {
            return Err(ErofsError::TooLarge(self.limit).into());
        }
        self.check_end(length)?;
        self.taken = taken;
        while length > 0 {
            if self.filled == BUFFER {
                self.flush()?;
            }
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(room.len());
            let n = read(room.get_mut(..wanted).unwrap_or_default())?;
            self.filled += n;
            length -= n as u64;
        }
        Ok(())
    }

    /// Zeros up to the next block.
    pub fn pad(&mut self) {
        // The buffer is a whole number of blocks and begins at one.
        self.zero(align(self.filled, BLOCK_LEN) - self.filled);
    }

    /// Zeros in the buffer, which has room for them.
    fn zero(&mut self, length: usize) {
        let end = self.filled + length;
        self.taken = self.taken.saturating_add(length as u64);
        self.buffer.get_mut(self.filled..end).unwrap_or_default().fill(0);
        self.filled = end;
    }

    /// Zeros; many of them take no room.
    fn skip(&mut self, mut length: u64) -> Result<(), ErofsError> {
        self.check_end(length)?;
        if length >= HOLE_BYTES {
            let before = self.position();
            self.pad();
            length -= self.position() - before;
            self.flush()?;
            self.start += length / BLOCK * BLOCK;
            length %= BLOCK;
        }
        if self.taken.saturating_add(length) > self.limit {
            return Err(ErofsError::TooLarge(self.limit));
        }
        while length > 0 {
            if self.filled == BUFFER {
                self.flush()?;
            }
            let room = (BUFFER - self.filled) as u64;
            let now = usize::try_from(length.min(room)).unwrap_or(BUFFER);
            self.zero(now);
            length -= now as u64;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ErofsError> {
        let full = self.buffer.get(..self.filled).unwrap_or_default();
        if !is_zero(full) {
            self.file.write_all_at(full, self.start).map_err(|e| ErofsError::Io("write", self.start, e))?;
        }
        if self.start + self.filled as u64 - self.told >= files::WRITEBACK {
            files::start_writeback(self.file, self.told, self.start + self.filled as u64 - self.told);
            self.told = self.start + self.filled as u64;
        }
        self.start += self.filled as u64;
        self.filled = 0;
        Ok(())
    }

    /// Writes what is gathered; the first block behind all data.
    pub fn finish(mut self) -> Result<u32, ErofsError> {
        self.pad();
        self.flush()?;
        self.block()
    }

    /// Lays out a sparse file of `size` bytes and takes its fragments' bytes from `read`. Chunks in
    /// which nothing is stored become holes; the table of chunk addresses and the chunks' size
    /// (a power of two of blocks) are what the inode needs.
    pub fn fill_sparse<E: From<ErofsError>>(
        &mut self,
        size: u64,
        fragments: &[Fragment],
        mut read: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(u8, Vec<u32>), E> {
        let bits = chunk_bits(size, fragments.len());
        let chunk_bytes = BLOCK << bits;
        let count = usize::try_from(size.div_ceil(chunk_bytes)).map_err(|_| ErofsError::TooLarge(size))?;
        let mut addresses = vec![super::super::tree::HOLE; count];
        let mut open = OpenChunk::default();
        for fragment in fragments {
            let end = fragment.offset + fragment.length;
            let mut at = fragment.offset;
            while at < end {
                let chunk = at / chunk_bytes;
                if open.end <= at {
                    self.skip(open.end - open.position)?;
                    self.pad();
                    let address = addresses.get_mut(usize::try_from(chunk).unwrap_or(usize::MAX));
                    *address.ok_or(ErofsError::TooLarge(size))? = self.block()?;
                    open = OpenChunk {
                        position: chunk * chunk_bytes,
                        end: ((chunk + 1) * chunk_bytes).min(size),
                    };
                }
                self.skip(at - open.position)?;
                let length = end.min(open.end) - at;
                self.fill(length, &mut read)?;
                at += length;
                open.position = at;
            }
        }
        self.skip(open.end - open.position)?;
        self.pad();
        Ok((bits, addresses))
    }
}

/// The chunk being written: how far the file is laid out, and where the chunk ends in it.
#[derive(Default)]
struct OpenChunk {
    position: u64,
    end: u64,
}

/// The smallest chunk size that keeps the table short.
fn chunk_bits(size: u64, fragments: usize) -> u8 {
    let most = MIN_CHUNKS.max(4 * fragments as u64);
    (0..MAX_CHUNK_BITS).find(|bits| blocks(size).div_ceil(1 << bits) <= most).unwrap_or(MAX_CHUNK_BITS)
}

fn is_zero(bytes: &[u8]) -> bool {
    // Almost all data differ from zero at once; the rest is compared in steps that vectorise.
    bytes.chunks(64).all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::layer::tree::HOLE;

    fn ones(buf: &mut [u8]) -> Result<usize, ErofsError> {
        buf.fill(1);
        Ok(buf.len())
    }

    #[test]
    fn a_large_hole_takes_no_room() {
        let file = tempfile::tempfile().unwrap();
        let mut writer = DataWriter::new(&file, 1 << 20);
        let fragments = [Fragment { offset: 0, length: 10 }, Fragment { offset: (10 << 30) - 5, length: 5 }];
        let (bits, addresses) = writer.fill_sparse(10 << 30, &fragments, ones).unwrap();
        assert_eq!(addresses.len() as u64, (10_u64 << 30).div_ceil(BLOCK << bits));
        assert_eq!(addresses.iter().filter(|address| **address != HOLE).count(), 2);
        writer.finish().unwrap();
        use std::os::unix::fs::MetadataExt;
        assert!(file.metadata().unwrap().blocks() < 64);
    }

    #[test]
    fn small_sparse_files_have_chunks_of_one_block() {
        let file = tempfile::tempfile().unwrap();
        let mut writer = DataWriter::new(&file, 1 << 20);
        let (bits, addresses) = writer
            .fill_sparse(5 * BLOCK + 1, &[Fragment { offset: 2 * BLOCK + 7, length: BLOCK }], ones)
            .unwrap();
        assert_eq!((bits, addresses), (0, vec![HOLE, HOLE, 1, 2, HOLE, HOLE]));
        assert_eq!(writer.finish().unwrap(), 3);
        let mut block = [9; 8];
        file.read_exact_at(&mut block, BLOCK).unwrap();
        assert_eq!(block, [0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn data_over_the_limit_are_refused_before_they_are_written() {
        let file = tempfile::tempfile().unwrap();
        let mut writer = DataWriter::new(&file, 2 * BLOCK);
        assert!(matches!(writer.fill(2 * BLOCK + 1, ones), Err(ErofsError::TooLarge(_))));
        assert!(writer.fill(2 * BLOCK, ones).is_ok());
    }
}
