//! A container's writable disk: a sparse file with an ext4 file system of its own.

mod ext4;

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Nominal size without `--storage-opt size=`. A file system's size costs nothing until it is filled.
pub const DEFAULT_SIZE: u64 = 10 << 30;
/// Sizes that a disk may have: below, metadata takes its toll; above, blocks have numbers of more than 32
/// bits. A file system of the host may end earlier, ext4 a block below the largest.
pub const SIZES: RangeInclusive<u64> = 64 << 20..=16 << 40;

/// Makes a disk that outlives its sandbox, and so has a journal: a file at `path`, which must not exist, of
/// `size` bytes, rounded down to whole blocks.
pub fn create(path: &Path, size: u64) -> io::Result<File> {
    check(size)?;
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    fill(file, size, true).inspect_err(|_| {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(path);
    })
}

/// Makes a disk that is gone with its last descriptor, on the file system of `dir`.
pub fn create_unnamed(dir: &Path, size: u64) -> io::Result<File> {
    check(size)?;
    let mut options = OpenOptions::new();
    fill(options.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(dir)?, size, false)
}

fn check(size: u64) -> io::Result<()> {
    if SIZES.contains(&size) {
        return Ok(());
    }
    let text = format!("{size} bytes are not the size of a disk; {} to {} are", SIZES.start(), SIZES.end());
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn fill(file: File, size: u64, journal: bool) -> io::Result<File> {
    let size = size - size % ext4::BLOCK as u64;
    file.set_len(size)?;
    ext4::write(&file, size, journal)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
