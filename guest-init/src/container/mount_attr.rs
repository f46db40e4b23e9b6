//! mount_setattr(2): changes one thing of a mount and leaves the others alone, as a remount does not.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

const AT_RECURSIVE: libc::c_int = 0x8000;

/// Adds flags to the mount at `path`.
pub fn add(path: &str, flags: MountAttrFlags) -> Result<(), Errno> {
    change(path, flags, 0)
}

/// Adds flags to the mount at `path` and to all below it.
pub fn add_recursive(path: &str, flags: MountAttrFlags) -> Result<(), Errno> {
    change(path, flags, AT_RECURSIVE)
}

/// Adds flags to the mount behind a descriptor.
pub fn add_to(mount: &OwnedFd, flags: MountAttrFlags) -> Result<(), Errno> {
    set(mount.as_raw_fd(), c"", &adding(flags), libc::AT_EMPTY_PATH)
}

/// The same for the mounts below it, too.
pub fn add_to_all(mount: &OwnedFd, flags: MountAttrFlags) -> Result<(), Errno> {
    set(mount.as_raw_fd(), c"", &adding(flags), libc::AT_EMPTY_PATH | AT_RECURSIVE)
}

/// Sets the propagation (`libc::MS_PRIVATE`, ...) of the mount behind a descriptor and of those below it.
pub fn set_propagation(mount: &OwnedFd, propagation: u64) -> Result<(), Errno> {
    let attr = MountAttr { set: 0, clear: 0, propagation, userns_fd: 0 };
    set(mount.as_raw_fd(), c"", &attr, libc::AT_EMPTY_PATH | AT_RECURSIVE)
}

fn change(path: &str, flags: MountAttrFlags, at_flags: libc::c_int) -> Result<(), Errno> {
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    set(libc::AT_FDCWD, &path, &adding(flags), at_flags)
}

fn adding(flags: MountAttrFlags) -> MountAttr {
    MountAttr { set: u64::from(flags.bits()), clear: 0, propagation: 0, userns_fd: 0 }
}

fn set(folder: RawFd, path: &CStr, attr: &MountAttr, at_flags: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the path is a C string and `attr` refers to a live struct of the size passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            folder,
            path.as_ptr(),
            at_flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if result < 0 { Err(crate::sys::last_errno()) } else { Ok(()) }
}
