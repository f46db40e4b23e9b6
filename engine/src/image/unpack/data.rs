//! A file's bytes, from a layer's file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::copy_file_range;

use crate::image::layer::erofs::format::BLOCK;

/// Bytes copied at a time where the kernel does not do it.
const BUFFER: usize = 256 * 1024;

/// Copies `length` bytes. Both places begin at a block, and the layer's last one is whole: so much is asked
/// for that a file system may share it, and the file is cut to its size afterwards.
pub fn copy(from: &File, start: u64, to: &File, at: u64, length: u64) -> io::Result<()> {
    let whole = length.next_multiple_of(BLOCK);
    let mut done = 0;
    while done < whole {
        let number = |place: u64| i64::try_from(place).map_err(io::Error::other);
        let (mut read, mut write) = (number(start + done)?, number(at + done)?);
        let count = usize::try_from(whole - done).unwrap_or(usize::MAX);
        match copy_file_range(from, Some(&mut read), to, Some(&mut write), count) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(copied) => done += copied as u64,
            Err(Errno::EINTR) => {}
            Err(Errno::EXDEV | Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                return copy_by_hand(from, start + done, to, at + done, whole - done);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &File, start: u64, to: &File, at: u64, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut done = 0;
    while done < length {
        let count = usize::try_from(length - done).unwrap_or(BUFFER).min(BUFFER);
        let part = buffer.get_mut(..count).unwrap_or_default();
        from.read_exact_at(part, start + done)?;
        to.write_all_at(part, at + done)?;
        done += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_copying_give_the_same() {
        let [from, one, other] = [(); 3].map(|()| tempfile::tempfile().unwrap());
        let bytes: Vec<u8> = (0..3 * BLOCK).map(|at| u8::try_from(at % 251).unwrap()).collect();
        from.write_all_at(&bytes, 0).unwrap();
        copy(&from, BLOCK, &one, 0, BLOCK + 1).unwrap();
        copy_by_hand(&from, BLOCK, &other, 0, 2 * BLOCK).unwrap();
        for file in [one, other] {
            let mut found = vec![0; bytes.len()];
            assert_eq!(file.read_at(&mut found, 0).unwrap() as u64, 2 * BLOCK);
            assert_eq!(found[..8192], bytes[4096..]);
        }
        assert!(copy(&from, BLOCK, &tempfile::tempfile().unwrap(), 0, 5 * BLOCK).is_err());
    }
}
