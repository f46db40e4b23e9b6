//! A container's cgroup in one hierarchy: its folder and files.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, unlinkat};
use rustix::io::Errno;

use super::Version;
use crate::error::{Step, StepError};

/// More of a cgroup's file is not read.
const MAX_FILE: u64 = 1 << 20;

/// The container's cgroup in one hierarchy.
pub struct Group {
    pub version: Version,
    pub path: String,
    /// How many of `path`'s last parts are this container's sandbox's to remove.
    pub own_depth: usize,
    pub folder: OwnedFd,
    /// Whether the container sees it.
    pub shown: bool,
    /// Made after the container's start.
    pub is_late: bool,
}

impl Group {
    pub fn make(version: Version, mount: &str, path: &str, shown: bool) -> Result<Self, StepError> {
        let own_depth = path.split('/').count() - 1;
        let path = format!("{mount}/{path}");
        make_folder(&path, own_depth)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder =
            rustix::fs::open(&path, flags, Mode::empty()).step(format_args!("open the cgroup {path}"))?;
        Ok(Group { version, path, own_depth, folder, shown, is_late: false })
    }

    pub fn write(&self, file: &str, value: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, file, flags, Mode::empty())?;
        rustix::io::write(file, value).map(drop)
    }

    /// A file that may take more than one read, up to a bound.
    pub fn read_long(&self, file: &str) -> Result<String, Errno> {
        use std::io::Read;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = std::fs::File::from(rustix::fs::openat(&self.folder, file, flags, Mode::empty())?);
        let mut text = Vec::new();
        let read = file.take(MAX_FILE).read_to_end(&mut text);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The beginning of a small file.
    pub fn read(&self, file: &str) -> Result<String, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, file, flags, Mode::empty())?;
        let mut text = [0u8; 4096];
        let len = rustix::io::read(file, &mut text)?;
        Ok(String::from_utf8_lossy(text.get(..len).unwrap_or_default()).into_owned())
    }

    pub fn kill_each(&self) {
        let Ok(procs) = self.read("cgroup.procs") else { return };
        let pids =
            procs.lines().filter_map(|line| line.parse().ok()).filter_map(rustix::process::Pid::from_raw);
        for pid in pids {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    pub fn events(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, "cgroup.events", flags, Mode::empty())
    }

    /// True when it is gone: the cgroup, what the container made in it, and the sandbox's if empty.
    pub fn remove(&self) -> bool {
        if !remove_tree(&self.path) {
            return false;
        }
        let parents =
            std::path::Path::new(&self.path).ancestors().skip(1).take(self.own_depth.saturating_sub(1));
        for parent in parents {
            if unlinkat(CWD, parent, AtFlags::REMOVEDIR).is_err() {
                break;
            }
        }
        true
    }
}

pub fn pidfd(pid: u32) -> Option<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

pub fn collect_processes(folder: &std::path::Path, limit: usize, depth: usize, pids: &mut Vec<u32>) {
    let own = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let room = limit.saturating_sub(pids.len());
    pids.extend(own.lines().filter_map(|line| line.parse::<u32>().ok()).take(room));
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if pids.len() < limit && depth > 0 {
            collect_processes(&entry.path(), limit, depth - 1, pids);
        }
    }
}

/// mkdir of a cgroup whose parents, `depth` of them, may be missing. One that is there must be a left-over.
fn make_folder(path: &str, depth: usize) -> Result<(), StepError> {
    let make = |path: &str| rustix::fs::mkdir(path, Mode::from_raw_mode(0o755));
    let what = || format!("make the cgroup {path}");
    match make(path) {
        Ok(()) => return Ok(()),
        Err(Errno::NOENT) => (),
        Err(Errno::EXIST) => {
            remove_tree(path);
            return make(path).step(what());
        }
        Err(cause) => return Err(cause).step(what()),
    }
    let parents: Vec<_> = std::path::Path::new(path).ancestors().skip(1).take(depth).collect();
    for parent in parents.into_iter().rev() {
        match rustix::fs::mkdir(parent, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => (),
            Err(cause) => return Err(cause).step(what()),
        }
    }
    make(path).step(what())
}

/// Removes a cgroup with the cgroups below it.
fn remove_tree(path: &str) -> bool {
    match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return true,
        Err(_) => (),
    }
    let Ok(entries) = std::fs::read_dir(path) else { return false };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if let Some(child) = entry.path().to_str() {
            remove_tree(child);
        }
    }
    matches!(unlinkat(CWD, path, AtFlags::REMOVEDIR), Ok(()) | Err(Errno::NOENT))
}
