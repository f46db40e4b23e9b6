//! Paths inside the container's root, which the image controls.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::error::{Step, StepError, shown};

/// Opens `path` to be named by descriptor. Links in it lead no further than the root, which is the
/// container's by now; /proc's magic links, which could lead out, are not followed.
pub fn open(path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    openat2(CWD, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
}

/// The folder at `path`, made with its parents if missing.
pub fn open_or_make_folder(path: &[u8]) -> Result<OwnedFd, StepError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match open(path, flags) {
        Err(Errno::NOENT) => {
            make_folders(path)?;
            open(path, flags)
        }
        other => other,
    }
    .step(format_args!("open the folder {} in the container", shown(path)))
}

/// The file at `path`, made empty with its parents if missing.
pub fn open_or_make_file(path: &[u8]) -> Result<OwnedFd, StepError> {
    let name = shown(path);
    match open(path, OFlags::PATH) {
        Err(Errno::NOENT) => (),
        other => return other.step(format_args!("open {name} in the container")),
    }
    if let Some((parent, _)) = split(path) {
        make_folders(parent)?;
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    openat2(CWD, path, flags, mode, ResolveFlags::NO_MAGICLINKS)
        .step(format_args!("make {name} in the container"))?;
    open(path, OFlags::PATH).step(format_args!("open {name} in the container"))
}

/// mkdir -p: each missing parent, then the last.
fn make_folders(path: &[u8]) -> Result<(), StepError> {
    let ends = path.iter().enumerate().filter(|&(at, &byte)| byte == b'/' && at > 0).map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        let prefix = path.get(..end).unwrap_or(path);
        match rustix::fs::mkdirat(CWD, prefix, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => (),
            Err(cause) => {
                return Err(cause).step(format_args!("make the folder {} in the container", shown(prefix)));
            }
        }
    }
    Ok(())
}

/// The /proc of where one is.
pub fn open_proc() -> Result<OwnedFd, StepError> {
    rustix::fs::open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .step("open /proc")
}

/// Parent and name.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|&byte| byte == b'/').filter(|&at| at > 0)?;
    Some((path.get(..slash)?, path.get(slash + 1..)?))
}
