//! Paths inside the container's root, which the image controls.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::error::{Step, StepError, shown};

/// Links followed on the way to one path, as the kernel's own MAXSYMLINKS.
const MAX_LINKS: usize = 40;

/// What is made where a path leads to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Folder,
    /// An empty one.
    File,
}

/// Opens `path` to be named by descriptor. Links in it lead no further than the root, which is the
/// container's by now; /proc's magic links, which could lead out, are not followed.
pub fn open(path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    openat2(CWD, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
}

/// What is at `path`, of whatever kind, or else a new `kind`, with its parents.
pub fn open_or_make(path: &[u8], kind: Kind) -> Result<OwnedFd, StepError> {
    match open(path, OFlags::PATH) {
        Err(Errno::NOENT) => make(path, kind),
        other => other.step(format_args!("open {} in the container", shown(path))),
    }
}

/// The folder at `path`, made with its parents if missing.
pub fn open_or_make_folder(path: &[u8]) -> Result<OwnedFd, StepError> {
    match open(path, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => make(path, Kind::Folder),
        other => other.step(format_args!("open the folder {} in the container", shown(path))),
    }
}

/// What `name` of the root's folder `/dev` is: not what a link there leads to. Made if missing.
pub fn open_in_dev(name: &str, kind: Kind) -> Result<OwnedFd, StepError> {
    let what = || format!("make /dev/{name} in the container");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dev = rustix::fs::open("/dev", flags, Mode::empty()).step(what())?;
    step_into(&dev, name.as_bytes(), kind).step(what())
}

/// mkdir -p, name by name. A link that leads to nothing is followed, and what it names is made, as docker does;
/// one of /proc's magic links counts for what it reads as.
fn make(path: &[u8], kind: Kind) -> Result<OwnedFd, StepError> {
    let what = || format!("make {} in the container", shown(path));
    let root = || rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let mut at = root().step(what())?;
    // The next one last.
    let mut names = Vec::new();
    push_names(&mut names, path);
    let mut links = 0;
    while let Some(name) = names.pop() {
        let kind = if names.is_empty() { kind } else { Kind::Folder };
        let next = step_into(&at, &name, kind).step(what())?;
        let stat = rustix::fs::fstat(&next).step(what())?;
        if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP).step(what());
        }
        let target = rustix::fs::readlinkat(&next, "", Vec::new()).step(what())?;
        if target.as_bytes().first() == Some(&b'/') {
            at = root().step(what())?;
        }
        push_names(&mut names, target.as_bytes());
    }
    Ok(at)
}

fn push_names(names: &mut Vec<Vec<u8>>, path: &[u8]) {
    let there = |name: &&[u8]| !name.is_empty() && *name != b".";
    names.extend(path.rsplit(|&byte| byte == b'/').filter(there).map(<[u8]>::to_vec));
}

/// One name of a folder, made if missing; a link itself.
fn step_into(folder: &OwnedFd, name: &[u8], kind: Kind) -> Result<OwnedFd, Errno> {
    let open = || {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(folder, name, flags, Mode::empty())
    };
    match open() {
        Err(Errno::NOENT) => (),
        other => return other,
    }
    let mode = Mode::from_raw_mode(0o755);
    match kind {
        Kind::Folder => match rustix::fs::mkdirat(folder, name, mode) {
            // What is bound here may have other users.
            Ok(()) | Err(Errno::EXIST) => (),
            Err(cause) => return Err(cause),
        },
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(folder, name, flags, mode).map(drop)?;
        }
    }
    open()
}

/// The /proc of where one is.
pub fn open_proc() -> Result<OwnedFd, StepError> {
    rustix::fs::open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .step("open /proc")
}
