//! What is mounted in volumes' folders, in this thread's mount namespace.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

/// Of a list of mounts, which the host's administrator makes: far more than there may be.
const MAX_MOUNTS: usize = 64 << 20;
const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("Failed to read {MOUNTINFO}")]
    List(#[source] io::Error),
    #[error("Failed to unmount {}", .path.display())]
    Unmount { path: PathBuf, source: Errno },
}

/// What is mounted at `path` or below, in the order in which it was mounted. `path` is as the kernel has it: without
/// symlinks.
pub fn below(path: &Path) -> Result<Vec<PathBuf>, MountError> {
    let text = fs::read(MOUNTINFO).map_err(MountError::List)?;
    if text.len() > MAX_MOUNTS {
        return Err(MountError::List(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(mount_point)
        .filter(|point| point.starts_with(path))
        .collect())
}

pub fn is_mounted(path: &Path) -> Result<bool, MountError> {
    // As the kernel names it: a store may lie behind a symlink.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    Ok(below(&path)?.contains(&path))
}

/// Unmounts what is mounted at `path`, all of it: one may lie above the other. What is in use goes when it is not any
/// more, as docker's.
pub fn unmount(path: &Path) -> Result<(), MountError> {
    loop {
        match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // Nothing is mounted there; it is not there.
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(source) => return Err(MountError::Unmount { path: path.to_owned(), source }),
        }
    }
}

/// The fifth field of a line (proc_pid_mountinfo(5)).
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut point = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, others)) = rest.split_first() {
        match others.get(..3).filter(|_| first == b'\\').and_then(octal) {
            Some(byte) => {
                point.push(byte);
                rest = others.get(3..).unwrap_or_default();
            }
            None => {
                point.push(first);
                rest = others;
            }
        }
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(point)))
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let line = br"36 35 98:0 /mnt1 /mnt\0402\134x rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/mnt 2\x")));
        assert_eq!(mount_point(b"36 35 98:0"), None);
        assert_eq!(mount_point(br"1 1 0:1 / /a\9b\ rw"), Some(PathBuf::from(r"/a\9b\")));
    }

    #[test]
    fn the_root_is_mounted_and_what_is_not_mounted_is_unmounted_already() {
        assert!(is_mounted(Path::new("/proc")).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(is_mounted(&link.join("proc")).unwrap());
        assert!(below(folder.path()).unwrap().is_empty());
        assert!(!is_mounted(folder.path()).unwrap());
        unmount(&folder.path().join("gone")).unwrap();
        if nix::unistd::geteuid().is_root() {
            unmount(folder.path()).unwrap();
        }
    }
}
