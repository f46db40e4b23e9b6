//! The host's side of a sandbox's cgroup: born in it, killed through it.
//!
//! `hull/<sandbox>` in the unified hierarchy (cgroup v2, or the v2 part of a hybrid host) holds
//! `supervised` for the VMM or the agent and one folder a container, which the agent makes. Hosts with
//! cgroup v1 alone have no place to be born in; there the agent ends by its socket only, and its
//! containers are killed by their own cgroups.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

const ROOT: &str = "hull";
const SUPERVISED: &str = "supervised";

/// Where a container's cgroup goes, relative to each hierarchy's root.
pub fn container(sandbox: &str, container: &str) -> String {
    format!("{ROOT}/{sandbox}/{container}")
}

/// Dropped without [`SandboxCgroup::remove`], or before its processes have ended, it takes them with it.
#[derive(Debug)]
pub struct SandboxCgroup {
    sandbox: String,
    path: PathBuf,
    supervised: File,
}

impl SandboxCgroup {
    /// None where there is no unified hierarchy.
    pub fn create(sandbox: &str) -> io::Result<Option<SandboxCgroup>> {
        let Some(unified) = unified() else { return Ok(None) };
        let path = unified.join(ROOT).join(sandbox);
        let supervised = path.join(SUPERVISED);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(&path)?,
            other => other?,
        }
        fs::create_dir(&supervised)?;
        let supervised = File::open(&supervised)?;
        Ok(Some(SandboxCgroup { sandbox: sandbox.to_string(), path, supervised }))
    }

    /// The folder to be born in.
    pub fn supervisor(&self) -> BorrowedFd<'_> {
        self.supervised.as_fd()
    }

    /// Moves a running process in.
    pub fn adopt(&self, pid: u32) -> io::Result<()> {
        fs::write(self.path.join(SUPERVISED).join("cgroup.procs"), pid.to_string())
    }

    /// Removes the folders once their processes are gone.
    pub fn remove(self) {
        remove_tree(&self.path);
    }
}

impl Drop for SandboxCgroup {
    fn drop(&mut self) {
        if self.path.exists() {
            kill(&self.sandbox);
        }
    }
}

/// Kills whatever is left of a sandbox and removes its cgroups in every hierarchy.
pub fn kill(sandbox: &str) {
    for hierarchy in hierarchies() {
        let path = hierarchy.join(ROOT).join(sandbox);
        if path.exists() {
            kill_tree(&path);
            remove_tree(&path);
        }
    }
}

/// cgroup v2: one write kills all below. What v1 holds is also in the unified hierarchy or the
/// freezer, whose processes are killed one by one.
fn kill_tree(path: &Path) {
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        let _ = wait_empty(path);
        return;
    }
    for folder in folders(path).into_iter().chain([path.to_path_buf()]) {
        let frozen = folder.join("freezer.state");
        let _ = fs::write(&frozen, "FROZEN");
        let processes: Vec<OwnedFd> = processes(&folder).into_iter().filter_map(pidfd).collect();
        for process in &processes {
            let signal = libc::SIGKILL;
            // SAFETY: pidfd_send_signal(2) on a pidfd of ours; null is no information beside the number.
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, 0, 0) };
        }
        let _ = fs::write(&frozen, "THAWED");
        // rmdir(2) refuses a cgroup until they have left it; a pidfd is readable from then on.
        for process in &processes {
            let _ = poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
        }
    }
}

fn processes(folder: &Path) -> Vec<libc::pid_t> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// None if the process is gone already.
fn pidfd(pid: libc::pid_t) -> Option<OwnedFd> {
    // SAFETY: pidfd_open(2) takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: a fresh descriptor that nobody else has.
    RawFd::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits for `populated 0` in `cgroup.events`, which the kernel announces as an exceptional condition.
fn wait_empty(path: &Path) -> io::Result<()> {
    let mut events = File::open(path.join("cgroup.events"))?;
    let mut text = String::new();
    loop {
        text.clear();
        events.rewind()?;
        events.read_to_string(&mut text)?;
        if text.lines().any(|line| line == "populated 0") {
            return Ok(());
        }
        poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], PollTimeout::NONE)?;
    }
}

/// Deepest first, as rmdir(2) wants it.
fn remove_tree(path: &Path) {
    for folder in folders(path) {
        remove_tree(&folder);
    }
    let _ = fs::remove_dir(path);
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|e| e.path())
        .collect()
}

fn unified() -> Option<PathBuf> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .find(|path| statfs(*path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC))
        .map(PathBuf::from)
}

/// Which cgroups this host has, in words.
pub fn version() -> &'static str {
    match unified() {
        Some(path) if path == Path::new("/sys/fs/cgroup") => "v2",
        Some(_) => "hybrid (v1 with an empty v2 beside it)",
        None => "v1",
    }
}

/// Every mounted hierarchy, the unified one first.
fn hierarchies() -> Vec<PathBuf> {
    let unified = unified();
    let legacy = folders(Path::new("/sys/fs/cgroup"));
    let legacy = if unified.as_deref() == Some(Path::new("/sys/fs/cgroup")) { Vec::new() } else { legacy };
    unified
        .clone()
        .into_iter()
        .chain(legacy.into_iter().filter(|path| Some(path) != unified.as_ref()))
        .collect()
}
