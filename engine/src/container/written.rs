//! How much a container has written to its root, docker's `SizeRw`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use super::config::Config;
use crate::sandbox::mode::Isolation;
use crate::store::{ContainerRow, Store};

/// Bytes of a container's writable layer: the files' lengths, as docker counts them; of a machine's disk
/// the blocks it takes on the host. None: it is on a disk without a name, which only its machine has.
pub fn bytes(store: &Store, row: &ContainerRow, config: &Config) -> io::Result<Option<u64>> {
    let folder = store.paths().container(&row.id);
    match row.mode {
        Isolation::Namespace => below(&folder.join("upper")).map(Some),
        Isolation::Vm if config.remove && row.started != 0 => Ok(None),
        Isolation::Vm => match fs::symlink_metadata(folder.join("disk.ext4")) {
            // stat(2) counts blocks of 512 bytes, whatever the file system's are.
            Ok(disk) => Ok(Some(disk.blocks() * 512)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(0)),
            Err(error) => Err(error),
        },
    }
}

/// The lengths of all that is no folder in a tree that its container changes meanwhile: symlinks are never
/// followed, a file with several names counts once, what vanishes on the way does not count. Nor do names
/// longer than a path may be. What is mounted in it is another tree.
pub fn below(top: &Path) -> io::Result<u64> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let top = match openat(AT_FDCWD, top, flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(0),
        opened => opened?,
    };
    let inside =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(flags).resolve(inside);
    let (mut total, mut seen) = (0_u64, HashSet::new());
    let mut folders = vec![PathBuf::from(".")];
    while let Some(path) = folders.pop() {
        match openat2(&top, &path, how) {
            Ok(folder) => total = total.saturating_add(one(folder, &path, &mut seen, &mut folders)?),
            Err(errno) if is_passing(errno) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(total)
}

/// One folder of it, whose own folders are put with those still to be looked at.
fn one(
    folder: OwnedFd,
    path: &Path,
    seen: &mut HashSet<(u64, u64)>,
    folders: &mut Vec<PathBuf>,
) -> nix::Result<u64> {
    let mut total = 0_u64;
    let mut entries = Dir::from_fd(folder)?;
    let names: Vec<_> = entries.iter().map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect();
    for name in names {
        let name = name?;
        if name.as_c_str() == c"." || name.as_c_str() == c".." {
            continue;
        }
        let stat: FileStat = match fstatat(entries.as_fd(), name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(errno) if is_passing(errno) => continue,
            stat => stat?,
        };
        if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR {
            folders.push(path.join(OsStr::from_bytes(name.as_bytes())));
        } else if stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino)) {
            total = total.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
        }
    }
    Ok(total)
}

/// It has gone, or become something else, since its name was read.
fn is_passing(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV | Errno::EAGAIN | Errno::ENAMETOOLONG
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn lengths_add_up_links_count_once_and_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (top, outside) = (folder.path().join("upper"), folder.path().join("outside"));
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("large"), [0; 5000]).unwrap();
        fs::write(top.join("one"), [0; 100]).unwrap();
        fs::write(top.join("a/b/two"), [0; 20]).unwrap();
        fs::hard_link(top.join("one"), top.join("a/again")).unwrap();
        symlink("/out", top.join("a/link")).unwrap();
        symlink(&outside, top.join("a/b/folder")).unwrap();
        let links = 4 + u64::try_from(outside.as_os_str().len()).unwrap();
        assert_eq!(below(&top).unwrap(), 120 + links);
        assert_eq!(below(&folder.path().join("nothing")).unwrap(), 0);
    }
}
