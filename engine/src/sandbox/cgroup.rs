//! The host's side of a sandbox's cgroup: born in it, killed through it.
//!
//! `hull/<sandbox>` in the unified hierarchy (cgroup v2, or the v2 part of a hybrid host) holds
//! `supervised` for the VMM or the agent and one folder a container, which the agent makes. Hosts with
//! cgroup v1 alone have no place to be born in; there the agent ends by its socket only, and its
//! containers are killed by their own cgroups.

mod memory;

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, faccessat};

pub use memory::HostMemory;

use crate::rootless::in_user_namespace;

const ROOT: &str = "hull";
const SUPERVISED: &str = "supervised";
const SUPERVISORS: &str = "supervisors";

/// How long killed processes may take to be gone. A process that the kernel holds on to is waited for no
/// longer; its cgroup stays for a later sweep.
const END_LIMIT: Duration = Duration::from_secs(10);
/// The longest that a change nobody announces may go unseen.
const SLICE: Duration = Duration::from_millis(100);
/// Younger cgroups without a process may be about to get their first.
const YOUNG: Duration = Duration::from_secs(60);

/// Where a container's cgroup goes, relative to each hierarchy's root. None: there is no place for one.
pub fn container(sandbox: &str, container: &str) -> Option<String> {
    let path = format!("{ROOT}/{sandbox}/{container}");
    if !in_user_namespace() {
        return Some(path);
    }
    let base = base()?.strip_prefix(unified()?).ok()?.join(path);
    base.to_str().map(str::to_owned)
}

/// Where that is, made or not.
pub fn supervisors_path() -> Option<PathBuf> {
    base().map(|base| base.join(ROOT).join(SUPERVISORS))
}

/// Where supervisors are born, outside their sandboxes' limits and of what kills those; all of them in
/// one, since none is ever killed through it. None where there is no place for them.
pub fn supervisors() -> io::Result<Option<File>> {
    let Some(path) = supervisors_path() else { return Ok(None) };
    match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(&path)?;
            File::open(&path).map(Some)
        }
        other => other.map(Some),
    }
}

/// Dropping it removes the folders, and takes with it whatever process is still in one.
#[derive(Debug)]
pub struct SandboxCgroup {
    sandbox: String,
    path: PathBuf,
    supervised: File,
}

impl SandboxCgroup {
    /// None where there is no unified hierarchy, or none of it is this user's.
    pub fn create(sandbox: &str) -> io::Result<Option<SandboxCgroup>> {
        let Some(base) = base() else { return Ok(None) };
        let path = base.join(ROOT).join(sandbox);
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
    pub fn supervised(&self) -> BorrowedFd<'_> {
        self.supervised.as_fd()
    }

    /// Moves a running process in.
    pub fn adopt(&self, pid: u32) -> io::Result<()> {
        fs::write(self.path.join(SUPERVISED).join("cgroup.procs"), pid.to_string())
    }
}

impl Drop for SandboxCgroup {
    fn drop(&mut self) {
        // An agent that ended in good order has left the two folders and nothing else.
        remove_tree(&self.path);
        if self.path.exists() {
            kill(&self.sandbox);
        }
    }
}

/// Kills whatever is left of a sandbox and removes its cgroups in every hierarchy. Whether they are gone.
pub fn kill(sandbox: &str) -> bool {
    let mut gone = true;
    for hierarchy in hierarchies() {
        let path = hierarchy.join(ROOT).join(sandbox);
        if path.exists() {
            kill_tree(&path);
            remove_tree(&path);
            gone &= !path.exists();
        }
    }
    gone
}

/// cgroup v2: one write kills all below. What v1 holds is also in the unified hierarchy or the
/// freezer, whose processes are killed one by one.
fn kill_tree(path: &Path) {
    let deadline = Instant::now() + END_LIMIT;
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        let _ = wait_empty(path, deadline);
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
            while wait(process.as_fd(), PollFlags::POLLIN, deadline) == Ok(false) {}
        }
    }
}

fn processes(folder: &Path) -> Vec<libc::pid_t> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// None if the process is gone already.
pub fn pidfd(pid: libc::pid_t) -> Option<OwnedFd> {
    // SAFETY: pidfd_open(2) takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: a fresh descriptor that nobody else has.
    RawFd::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits for `populated 0` in `cgroup.events`, which the kernel announces as an exceptional condition.
/// Nothing announces that somebody else has removed the cgroup, so it looks again every now and then.
fn wait_empty(path: &Path, deadline: Instant) -> io::Result<()> {
    let gone = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV));
    let mut events = match File::open(path.join("cgroup.events")) {
        Err(error) if gone(&error) => return Ok(()),
        other => other?,
    };
    let mut text = String::new();
    loop {
        text.clear();
        match events.rewind().and_then(|()| events.read_to_string(&mut text)) {
            Err(error) if gone(&error) => return Ok(()),
            other => other?,
        };
        if text.lines().any(|line| line == "populated 0") {
            return Ok(());
        }
        wait(events.as_fd(), PollFlags::POLLPRI, deadline)?;
    }
}

/// Waits for an event, a slice of time at most, and tells whether it came. ETIMEDOUT: it is too late for it.
fn wait(fd: BorrowedFd<'_>, event: PollFlags, deadline: Instant) -> nix::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Errno::ETIMEDOUT);
    }
    let slice = PollTimeout::try_from(left.min(SLICE)).unwrap_or(PollTimeout::ZERO);
    match poll(&mut [PollFd::new(fd, event)], slice) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Removes the cgroups of sandboxes that `known` does not claim and in which there is no process: killed
/// between making one and being born in it. Other stores' sandboxes have theirs in the same place, so
/// those that are young or live in any hierarchy are left alone.
pub fn remove_abandoned(known: impl Fn(&str) -> bool) {
    remove_older(&hierarchies(), YOUNG, known);
}

fn remove_older(hierarchies: &[PathBuf], age: Duration, known: impl Fn(&str) -> bool) {
    let is_id = |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut sandboxes: Vec<String> = hierarchies
        .iter()
        .flat_map(|hierarchy| folders(&hierarchy.join(ROOT)))
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_string()))
        .filter(|name| is_id(name) && !known(name))
        .collect();
    sandboxes.sort_unstable();
    sandboxes.dedup();
    for sandbox in sandboxes {
        let paths: Vec<PathBuf> = hierarchies
            .iter()
            .map(|path| path.join(ROOT).join(&sandbox))
            .filter(|path| path.exists())
            .collect();
        if paths.iter().all(|path| is_older(path, age) && is_empty(path)) {
            paths.iter().for_each(|path| remove_tree(path));
        }
    }
}

/// By the time of its inode, which the kernel may have made later than the cgroup, but never earlier.
fn is_older(path: &Path, age: Duration) -> bool {
    let changed = path.metadata().and_then(|metadata| metadata.modified());
    changed.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|elapsed| elapsed >= age))
}

/// Whether there is no process in a cgroup or below it, as far as one is let see.
fn is_empty(path: &Path) -> bool {
    let nobody = match fs::read(path.join("cgroup.procs")) {
        Ok(processes) => processes.is_empty(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    nobody && folders(path).iter().all(|folder| is_empty(folder))
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

/// The cgroup that hull's are below: the unified hierarchy's root; in a user namespace the topmost one that
/// was given to its user (Documentation/admin-guide/cgroup-v2.rst, "Delegation"), as systemd gives one to each
/// user's services.
fn base() -> Option<PathBuf> {
    let unified = unified()?;
    if !in_user_namespace() {
        return Some(unified);
    }
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let below = Path::new(own).ancestors().map(|path| unified.join(path));
    below.filter(|path| is_given(path)).last()
}

/// Whether one may make cgroups in a folder, and move processes that are below it.
fn is_given(path: &Path) -> bool {
    let may = |path: &Path| faccessat(AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok();
    may(path) && may(&path.join("cgroup.procs"))
}

/// Which cgroups this host has, in words.
pub fn version() -> &'static str {
    match unified() {
        Some(path) if path == Path::new("/sys/fs/cgroup") => "v2",
        Some(_) => "hybrid (v1 with an empty v2 beside it)",
        None => "v1",
    }
}

/// Every mounted hierarchy that may have cgroups of hull's, the unified one first.
fn hierarchies() -> Vec<PathBuf> {
    if in_user_namespace() {
        return base().into_iter().collect();
    }
    let unified = unified();
    let legacy = folders(Path::new("/sys/fs/cgroup"));
    let legacy = if unified.as_deref() == Some(Path::new("/sys/fs/cgroup")) { Vec::new() } else { legacy };
    unified
        .clone()
        .into_iter()
        .chain(legacy.into_iter().filter(|path| Some(path) != unified.as_ref()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;

    use super::*;

    #[test]
    fn waiting_for_an_empty_cgroup_ends_with_it_or_at_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let soon = || Instant::now() + Duration::from_millis(150);
        wait_empty(folder.path(), soon()).unwrap();
        fs::write(folder.path().join("cgroup.events"), "populated 0\nfrozen 0\n").unwrap();
        wait_empty(folder.path(), soon()).unwrap();
        fs::write(folder.path().join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        let error = wait_empty(folder.path(), soon()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT));
    }

    /// Needs the right to make cgroups; without it there is nothing to try.
    #[test]
    fn a_cgroup_that_somebody_else_removes_is_empty() {
        let Some(unified) = unified() else { return };
        let path = unified.join(format!("hull-test-{}", std::process::id()));
        if fs::create_dir(&path).is_err() {
            return;
        }
        let mut process = Command::new("sleep").arg("100").spawn().unwrap();
        fs::write(path.join("cgroup.procs"), process.id().to_string()).unwrap();
        let waiting = {
            let path = path.clone();
            thread::spawn(move || wait_empty(&path, Instant::now() + END_LIMIT))
        };
        process.kill().unwrap();
        process.wait().unwrap();
        fs::remove_dir(&path).unwrap();
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn cgroups_are_abandoned_when_old_and_unknown_and_without_a_process_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let hierarchies = ["one", "two"].map(|name| folder.path().join(name));
        let [abandoned, ours, alive] = ["a", "b", "c"].map(|digit| digit.repeat(64));
        for hierarchy in &hierarchies {
            for sandbox in [abandoned.as_str(), &ours, &alive, "by hand"] {
                fs::create_dir_all(hierarchy.join(ROOT).join(sandbox).join(SUPERVISED)).unwrap();
            }
        }
        let [one, two] = hierarchies.each_ref().map(|hierarchy| hierarchy.join(ROOT));
        fs::write(one.join(&alive).join(SUPERVISED).join("cgroup.procs"), "1\n").unwrap();
        let known = |id: &str| id == ours;
        remove_older(&hierarchies, Duration::from_secs(60), known);
        assert!(one.join(&abandoned).exists(), "too young");
        remove_older(&hierarchies, Duration::ZERO, known);
        assert!(!one.join(&abandoned).exists() && !two.join(&abandoned).exists());
        for kept in [ours.as_str(), &alive, "by hand"] {
            assert!(one.join(kept).exists() && two.join(kept).exists(), "{kept}");
        }
    }
}
