//! A pod and the processes behind it.

use std::fs;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::{Hull, Output, hull};
use crate::{BUSYBOX, paths, unique};

/// Removed when dropped, with all that is in it.
pub struct Pod {
    pub name: String,
    pub id: String,
}

impl Pod {
    /// `hull pod create OPTIONS...` in the mode under test.
    pub fn create<const N: usize>(options: [&str; N]) -> Pod {
        let name = unique("pod");
        let words = ["pod", "create", "--name", &name, "--isolation", paths::isolation().word()];
        let id = Hull::new(words).args(options).output().text();
        Pod { name, id }
    }

    /// `hull run --pod NAME WORDS...`
    pub fn run<const N: usize>(&self, words: [&str; N]) -> Output {
        Hull::new(["run", "--pod", &self.name]).args(words).output()
    }

    /// A member in the background that does nothing for long; its name.
    pub fn sleeping<const N: usize>(&self, options: [&str; N]) -> String {
        let name = unique("member");
        let words = ["run", "-d", "--pod", &self.name, "--name", &name];
        Hull::new(words).args(options).args([BUSYBOX, "sleep", "1000"]).output().exits(0);
        name
    }

    pub fn status(&self) -> String {
        hull(["pod", "ls", "--filter", &format!("id={}", self.id), "--format", "{{.Status}}"]).text()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        hull(["pod", "rm", "-f", &self.name]);
    }
}

/// The process that supervises a sandbox, by its id.
pub fn supervisor(sandbox: &str) -> Option<Pid> {
    let wanted = format!("hull\0supervise\0{sandbox}\0");
    processes().find(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|it| it == wanted))
}

/// All that work for a store: those of its sandboxes. A supervisor has no environment that would tell.
pub fn supervisors_of(root: &Path) -> Vec<Pid> {
    let sandboxes = fs::read_dir(root.join("sandboxes")).into_iter().flatten().flatten();
    sandboxes.filter_map(|entry| supervisor(entry.file_name().to_str()?)).collect()
}

/// What a supervisor has started: the VMM, or the agent.
pub fn children(of: Pid) -> Vec<Pid> {
    let parent = |pid: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(") ").next()?.split(' ').nth(1)?.parse::<i32>().ok()
    };
    processes().filter(|pid| parent(pid) == Some(of.as_raw())).collect()
}

/// Who is in a sandbox's own cgroup outside of its containers: the VMM and its file server, or the agent.
pub fn supervised(sandbox: &str) -> Vec<Pid> {
    in_group(&format!("/hull/{sandbox}/supervised"))
}

/// All in a sandbox's cgroup, its containers included.
pub fn in_sandbox(sandbox: &str) -> Vec<Pid> {
    in_group(&format!("/hull/{sandbox}/"))
}

fn in_group(group: &str) -> Vec<Pid> {
    let inside = |pid: &Pid| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(group))
    };
    processes().filter(inside).collect()
}

/// kill -9, and it is gone when this returns.
pub fn murder(pid: Pid) {
    ends_by(pid, || kill(pid, Signal::SIGKILL).unwrap());
}

/// What ends a process; it is gone when this returns.
pub fn ends_by(pid: Pid, act: impl FnOnce()) {
    // SAFETY: pidfd_open(2) takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = i32::try_from(fd).unwrap();
    assert!(fd >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
    // SAFETY: a fresh descriptor that nobody else has.
    let process = unsafe { OwnedFd::from_raw_fd(fd) };
    act();
    let timeout = PollTimeout::try_from(paths::patience()).unwrap();
    let ended = poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout).unwrap();
    assert!(ended > 0, "{pid} does not end");
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| Some(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)))
}

/// A field of `hull inspect`.
pub fn inspect(name: &str, field: &str) -> String {
    hull(["inspect", "--format", &format!("{{{{{field}}}}}"), name]).text()
}

/// Waits until a field of `hull inspect` is what it should be.
#[track_caller]
pub fn await_field(name: &str, field: &str, wanted: &str) {
    let deadline = std::time::Instant::now() + paths::patience();
    loop {
        let found = inspect(name, field);
        if found == wanted {
            return;
        }
        let why = || inspect(name, "json .State");
        assert!(
            std::time::Instant::now() < deadline,
            "{field} of {name} is {found}, not {wanted}: {}",
            why()
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
