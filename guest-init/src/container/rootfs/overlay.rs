//! The writable layer over the read-only lower.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timestamps, Uid};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::fsapi::FsContext;
use crate::error::{Step, StepError};
use crate::sys::in_user_namespace;

/// The two folders overlayfs writes to, on one file system.
pub struct Writable {
    pub upper: OwnedFd,
    pub work: OwnedFd,
}

/// A detached overlay mount of `writable` over `lower`, both attached somewhere.
pub fn mount(lower: &OwnedFd, writable: &Writable) -> Result<OwnedFd, StepError> {
    adopt_root_attributes(lower, writable)?;
    let overlay = FsContext::open("overlay")?;
    let overlay = if in_user_namespace() {
        // Its marks are `trusted` attributes otherwise, which a user namespace cannot write. With these it
        // takes no other word for no redirects.
        overlay.flag("userxattr")?.set("redirect_dir", b"nofollow")?
    } else {
        overlay.set("redirect_dir", b"off")?
    };
    overlay
        // Descriptors for paths: short whatever the store's path is, and no host path shows in the
        // container's mountinfo.
        .set("lowerdir", path_of(lower).as_bytes())?
        .set("upperdir", path_of(&writable.upper).as_bytes())?
        .set("workdir", path_of(&writable.work).as_bytes())?
        // What these would write, other hosts' mounts of the same upper would misread.
        .set("metacopy", b"off")?
        .set("index", b"off")?
        .mount(MountAttrFlags::empty())
}

/// overlayfs shows the upper folder's own attributes on "/": on first use they become the image's.
fn adopt_root_attributes(lower: &OwnedFd, writable: &Writable) -> Result<(), StepError> {
    match rustix::fs::accessat(&writable.work, "work", rustix::fs::Access::EXISTS, AtFlags::empty()) {
        Ok(()) => return Ok(()),
        Err(Errno::NOENT) => (),
        Err(cause) => return Err(cause).step("look into the work folder"),
    }
    let image = rustix::fs::fstat(lower).step("read the image root's attributes")?;
    let upper = &writable.upper;
    rustix::fs::fchown(upper, Some(Uid::from_raw(image.st_uid)), Some(Gid::from_raw(image.st_gid)))
        .step("set the root's owner")?;
    rustix::fs::fchmod(upper, Mode::from_raw_mode(image.st_mode)).step("set the root's mode")?;
    let modified = rustix::fs::Timespec {
        tv_sec: image.st_mtime,
        tv_nsec: i64::try_from(image.st_mtime_nsec).unwrap_or(0),
    };
    rustix::fs::futimens(upper, &Timestamps { last_access: modified, last_modification: modified })
        .step("set the root's time")
}

/// Opens a folder to be named by descriptor, making it if `parent` does not have it.
pub fn open_or_make(parent: impl AsFd, name: &str) -> Result<OwnedFd, StepError> {
    match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => (),
        Err(cause) => return Err(cause).step(format_args!("make the folder {name} on the writable disk")),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
        .step(format_args!("open the folder {name} on the writable disk"))
}

fn path_of(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
