//! Owner, mode, extended attributes and times, in this order: a new owner clears set-id bits and capabilities, and
//! all of them change a time.

use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr,
    futimens, lsetxattr, utimensat,
};
use rustix::io::Errno;

use crate::archive::xattrs;

/// Of a file or folder that is open on both sides.
pub fn of_file(from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    for (name, value) in xattrs::of_file(from) {
        tolerate(fsetxattr(to, name.as_slice(), &value, XattrFlags::empty()))?;
    }
    futimens(to, &times(stat))
}

/// Of a name in two folders. A node has been made with its mode, a link has none.
pub fn of_name(from: &OwnedFd, to: &OwnedFd, name: &[u8], stat: &Stat) -> Result<(), Errno> {
    let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    chownat(to, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    let found = xattrs::of_name(from, name);
    if !found.is_empty() {
        rustix::process::fchdir(to)?;
        for (attribute, value) in found {
            tolerate(lsetxattr(name, attribute.as_slice(), &value, XattrFlags::empty()))?;
        }
    }
    utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

/// Not every file system has every kind of attribute, nor may every user set it.
fn tolerate(set: Result<(), Errno>) -> Result<(), Errno> {
    match set {
        Err(Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
        other => other,
    }
}

fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec, nsec| Timespec { tv_sec, tv_nsec: i64::try_from(nsec).unwrap_or(0) };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
