//! Mounts that are in nobody's tree: copies of what is mounted somewhere, with attributes of their own
//! (open_tree(2), and mount_setattr(2) of Linux 5.12; EROFS as hull uses it takes 5.16 anyway).

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is at `path`, symlinks followed; with all that is mounted below it where `recursive` says so.
pub fn copy(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    open(libc::AT_FDCWD, &name, recursive, 0)
}

/// The same of an open file or folder.
pub fn copy_open(at: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    open(at.as_raw_fd(), c"", recursive, libc::AT_EMPTY_PATH)
}

fn open(at: RawFd, name: &CStr, recursive: bool, flags: libc::c_int) -> io::Result<OwnedFd> {
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | (flags | recursive).cast_unsigned();
    // SAFETY: `name` is a C string that lives through the call; the kernel reads nothing else.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, at, name.as_ptr(), flags) };
    let tree = RawFd::try_from(tree).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: open_tree returned a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(tree) })
}

/// Takes set-uid programs and device files from a mount of one's own, and with `readonly` every change; nothing
/// spreads from it or to it. `recursive`: from all that is mounted below it, too.
pub fn confine(tree: &OwnedFd, readonly: bool, recursive: bool) -> io::Result<()> {
    let readonly = if readonly { libc::MOUNT_ATTR_RDONLY } else { 0 };
    let attr = libc::mount_attr {
        attr_set: readonly | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the kernel reads one mount_attr of the size given.
    let set = unsafe {
        let (fd, empty, size) = (tree.as_fd().as_raw_fd(), c"".as_ptr(), size_of::<libc::mount_attr>());
        libc::syscall(libc::SYS_mount_setattr, fd, empty, flags, &raw const attr, size)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
