//! Loop devices for block volumes on a host.
//!
//! A file has one at most: two would be two caches of one file system. The file is locked (flock(2)) by the open file
//! that the device takes over, so it is locked for as long as the device has it: to where it is unmounted last, which
//! may be the mount namespace of a container that saw it come.

use std::ffi::c_int;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use hull_guest::loopdev::{self, Access, LoopDevice};
use nix::errno::Errno;

pub use hull_guest::loopdev::LoopError;

/// Puts a loop device over the file at `backing`: past the host's page cache where its file system can do that. One
/// that has it already is taken. None: somebody else has the file.
pub fn attach(backing: &Path) -> Result<Option<LoopDevice>, LoopError> {
    let failed = |source| LoopError::Open { path: backing.to_owned(), source };
    let (file, access) = match open(backing, libc::O_DIRECT) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            (open(backing, 0).map_err(failed)?, Access::ReadWrite)
        }
        opened => (opened.map_err(failed)?, Access::Direct),
    };
    match lock(&file) {
        Ok(true) => loopdev::attach(&file, access).map(Some),
        Ok(false) => Ok(device_of(&file)),
        Err(errno) => Err(failed(errno.into())),
    }
}

fn open(path: &Path, flags: c_int) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(flags | libc::O_NOFOLLOW).open(path)
}

/// Locks a file for as long as it is open. False: another open file of it is locked.
pub fn lock(file: &File) -> Result<bool, Errno> {
    // SAFETY: flock(2) takes a descriptor, which is open, and a number.
    match Errno::result(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The device that a file is on.
fn device_of(file: &File) -> Option<LoopDevice> {
    let wanted = file.metadata().ok()?;
    let devices =
        fs::read_dir("/sys/block").ok()?.flatten().filter(|entry| entry.path().join("loop").exists());
    let mut paths = devices.map(|entry| Path::new("/dev").join(entry.file_name()));
    paths.find_map(|path| loopdev::of_file(path, wanted.dev(), wanted.ino()))
}
