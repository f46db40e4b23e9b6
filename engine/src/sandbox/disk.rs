//! A container's writable disk: a sparse ext4 file of its own.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Nominal size. A file system's size costs nothing until it is filled.
pub const SIZE: u64 = 10 << 30;
const BLOCK: usize = 4096;

/// The blocks of an empty file system that are not zero, each behind its number; made by build.rs.
static TEMPLATE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/template.bin"));

/// Makes the disk of a container that may be started again: a file at `path`, which must not exist.
pub fn create(path: &Path) -> io::Result<File> {
    fill(OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?)
}

/// Makes a disk that is gone with its last descriptor, on the file system of `dir`.
pub fn create_unnamed(dir: &Path) -> io::Result<File> {
    fill(OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(dir)?)
}

fn fill(file: File) -> io::Result<File> {
    file.set_len(SIZE)?;
    for entry in TEMPLATE.chunks_exact(8 + BLOCK) {
        let (number, block) = entry.split_at(8);
        let number = u64::from_le_bytes(number.try_into().map_err(io::Error::other)?);
        file.write_all_at(block, number * BLOCK as u64)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn disk_is_a_sound_ext4_that_takes_little_space() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let metadata = create(&path).unwrap().metadata().unwrap();
        assert_eq!(metadata.len(), SIZE);
        assert!(metadata.blocks() * 512 < 512 * 1024, "{} blocks", metadata.blocks());
        let check = Command::new("/sbin/e2fsck").arg("-fn").arg(&path).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    }
}
