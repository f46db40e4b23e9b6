//! The folder that is shown of a block volume.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Step, StepError};
use crate::protocol::DISK_FOLDER;

/// Where a first use is prepared. It takes the folder's name only when it is whole, so that one cut short is done
/// again.
const UNFINISHED: &str = "data.unfinished";

/// What is to be mounted of a disk.
pub struct DiskFolder {
    pub folder: OwnedFd,
    /// It is new, and to be filled from the image.
    pub first_use: Option<FirstUse>,
}

pub struct FirstUse {
    root: OwnedFd,
}

/// Opens the folder in the root of a disk's file system, or makes it. With `fill` a new one is there for good once
/// [`FirstUse::finish`] says so.
pub fn open(root: OwnedFd, fill: bool) -> Result<DiskFolder, StepError> {
    match open_folder(&root, DISK_FOLDER) {
        Err(Errno::NOENT) if fill => {
            remove_tree(&root, UNFINISHED).step("clear what an earlier first use of the disk has left")?;
            let folder = make(&root, UNFINISHED)?;
            Ok(DiskFolder { folder, first_use: Some(FirstUse { root }) })
        }
        Err(Errno::NOENT) => Ok(DiskFolder { folder: make(&root, DISK_FOLDER)?, first_use: None }),
        other => Ok(DiskFolder { folder: other.step("open the folder of a disk")?, first_use: None }),
    }
}

impl FirstUse {
    /// What has been copied is on the disk before its name says that it is all there.
    pub fn finish(self) -> Result<(), StepError> {
        let FirstUse { root } = self;
        open_folder(&root, UNFINISHED)
            .and_then(|folder| rustix::fs::syncfs(&folder))
            .and_then(|()| rustix::fs::renameat(&root, UNFINISHED, &root, DISK_FOLDER))
            .step("finish the first use of a disk")
    }
}

fn make(root: &OwnedFd, name: &str) -> Result<OwnedFd, StepError> {
    rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755))
        .and_then(|()| open_folder(root, name))
        .step("make the folder of a disk")
}

fn open_folder(root: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(root, name, flags, Mode::empty())
}

/// Follows no links below the folder, as the standard library does not.
fn remove_tree(root: &OwnedFd, name: &str) -> Result<(), Errno> {
    match std::fs::remove_dir_all(format!("/proc/self/fd/{}/{name}", root.as_raw_fd())) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn root(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn folder_is_filled_once_and_again_only_if_that_was_cut_short() {
        let disk = tempfile::TempDir::new().unwrap();
        let cut_short = open(root(disk.path()), true).unwrap();
        assert!(cut_short.first_use.is_some());
        fs::create_dir_all(disk.path().join(UNFINISHED).join("left/over")).unwrap();
        drop(cut_short);
        let again = open(root(disk.path()), true).unwrap();
        assert_eq!(fs::read_dir(disk.path().join(UNFINISHED)).unwrap().count(), 0);
        again.first_use.unwrap().finish().unwrap();
        for fill in [true, false] {
            assert!(open(root(disk.path()), fill).unwrap().first_use.is_none());
        }
        assert!(disk.path().join(DISK_FOLDER).is_dir() && !disk.path().join(UNFINISHED).exists());
    }

    #[test]
    fn folder_that_nothing_is_copied_to_is_made_at_once() {
        let disk = tempfile::TempDir::new().unwrap();
        assert!(open(root(disk.path()), false).unwrap().first_use.is_none());
        assert!(disk.path().join(DISK_FOLDER).is_dir());
    }
}
