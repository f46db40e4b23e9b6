//! Starts hull-vmm and hull-init: from a descriptor, with nothing inherited but what they are
//! handed, in a session of their own, and straight into their cgroup.
//!
//! `clone3` and not `std::process::Command`, for two reasons: moving a running process into a cgroup
//! waits for a grace period of the whole host (tens of milliseconds on some), being born there does
//! not; and a pidfd from the start never names a stranger.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::descriptors;

/// First descriptor that a started program finds behind stdin, stdout and stderr.
pub const FIRST_FD: RawFd = 3;

/// Of clone3(2); libc has it as a signed 32-bit number, which it does not fit.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What to start, and with what.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The program, opened. It runs by this descriptor, whatever happens to its path.
    pub program: BorrowedFd<'a>,
    pub args: &'a [CString],
    /// stdin and stdout.
    pub null: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    /// Become descriptors 3, 4, ... in this order.
    pub handed: &'a [BorrowedFd<'a>],
    /// A cgroup v2 folder to be born in.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// A started process. Dropping it does not end it: its control socket does.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    pidfd: OwnedFd,
}

/// How a process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Exited(i32),
    Killed(Signal),
}

impl Child {
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the end, so that no zombie stays.
    pub fn reap(&self) {
        while waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED) == Err(Errno::EINTR) {}
    }

    pub fn has_ended(&self) -> bool {
        let mut ended = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut ended, PollTimeout::ZERO), Ok(1..))
    }

    /// How it ended, if it does within `limit`. That can be asked until it is reaped.
    pub fn ending(&self, limit: Duration) -> Option<Ending> {
        let mut ended = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        if !matches!(poll(&mut ended, limit), Ok(1..)) {
            return None;
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::PIDFd(self.pidfd.as_fd()), flags) {
            Ok(WaitStatus::Exited(_, code)) => Some(Ending::Exited(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(Ending::Killed(signal)),
            Ok(_) | Err(_) => None,
        }
    }

    /// Waits for the end that was asked for; a process that does not come to it is killed.
    pub fn end(&self, limit: Duration) {
        let mut ended = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        if !matches!(poll(&mut ended, limit), Ok(1..)) {
            self.kill();
        }
        self.reap();
    }

    pub fn kill(&self) {
        // SAFETY: plain system call on a descriptor we own; no memory is passed.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), libc::SIGKILL, 0, 0) };
    }
}

/// Everything the child needs, prepared before it exists: it must not allocate.
struct Prepared {
    program: OwnedFd,
    /// Descriptor and the number it shall have.
    places: Vec<(OwnedFd, RawFd)>,
    argv: Vec<*const libc::c_char>,
    first_unused: RawFd,
    /// The limit of descriptors, if it is not ours.
    descriptors: Option<libc::rlimit>,
}

impl Spawn<'_> {
    pub fn start(&self) -> io::Result<Child> {
        let prepared = self.prepare()?;
        let mut pidfd: RawFd = -1;
        // SAFETY: clone_args is plain data for which zeros mean "not asked for".
        let mut clone: libc::clone_args = unsafe { std::mem::zeroed() };
        clone.flags = u64::from(libc::CLONE_PIDFD.cast_unsigned());
        clone.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
        clone.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
        if let Some(cgroup) = self.cgroup {
            clone.flags |= CLONE_INTO_CGROUP;
            clone.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
        }
        // SAFETY: without CLONE_VM this is fork(2): the child has its own copy of memory and stack
        // and runs only `exec`, which makes system calls alone and never returns.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut clone, size_of::<libc::clone_args>()) };
        match u32::try_from(pid) {
            Ok(0) => exec(&prepared),
            Ok(pid) => {
                // SAFETY: the kernel stored a new descriptor there, which nobody else owns.
                let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
                Ok(Child { pid, pidfd })
            }
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// Lifts every descriptor above the places to fill, so that none is overwritten before its turn.
    fn prepare(&self) -> io::Result<Prepared> {
        let first_unused = FIRST_FD + RawFd::try_from(self.handed.len()).map_err(io::Error::other)?;
        let lift = |fd: BorrowedFd| -> io::Result<OwnedFd> {
            let lifted = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(first_unused))?;
            // SAFETY: F_DUPFD_CLOEXEC returned a new descriptor, which nobody else owns.
            Ok(unsafe { OwnedFd::from_raw_fd(lifted) })
        };
        let standard = [(self.null, 0), (self.null, 1), (self.stderr, 2)];
        let places = standard
            .into_iter()
            .chain(self.handed.iter().copied().zip(FIRST_FD..))
            .map(|(fd, place)| Ok((lift(fd)?, place)))
            .collect::<io::Result<Vec<_>>>()?;
        let argv = self.args.iter().map(|arg| arg.as_ptr()).chain([std::ptr::null()]).collect();
        let descriptors =
            descriptors::inherited().map(|(soft, hard)| libc::rlimit { rlim_cur: soft, rlim_max: hard });
        Ok(Prepared { program: lift(self.program)?, places, argv, first_unused, descriptors })
    }
}

/// In the child: only system calls from here on.
fn exec(prepared: &Prepared) -> ! {
    let empty = [std::ptr::null::<libc::c_char>()];
    // SAFETY: all pointers are to memory that the fork copied; each call is async-signal-safe, and
    // the last one does not return.
    unsafe {
        libc::setsid();
        libc::umask(0o022);
        libc::chdir(c"/".as_ptr());
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        // What the caller ignores stays ignored across an exec: with SIGCHLD nobody would hear of a
        // container's end. SIGKILL and SIGSTOP are refused, as are those that libc keeps to itself.
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        // The caller's place in the queue for the OOM killer is not the container's. It may be refused to
        // go down again, which leaves the container the likelier victim.
        let score = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        libc::write(score, c"0".as_ptr().cast(), 1);
        if let Some(limit) = &prepared.descriptors {
            libc::setrlimit(libc::RLIMIT_NOFILE, limit);
        }
        for (fd, place) in &prepared.places {
            if libc::dup2(fd.as_raw_fd(), *place) < 0 {
                libc::_exit(125);
            }
        }
        let flags = libc::CLOSE_RANGE_CLOEXEC;
        libc::syscall(libc::SYS_close_range, prepared.first_unused, u32::MAX, flags);
        let program = prepared.program.as_raw_fd();
        let argv = prepared.argv.as_ptr();
        libc::syscall(libc::SYS_execveat, program, c"".as_ptr(), argv, empty.as_ptr(), libc::AT_EMPTY_PATH);
        libc::_exit(126)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn child_ignores_no_signal_whatever_its_caller_does() {
        // SAFETY: SIG_IGN is a valid handler, and no test here waits for this signal.
        unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let program = File::open("/bin/grep").unwrap();
        let mut out = tempfile::tempfile().unwrap();
        let args = ["grep", "^SigIgn:", "/proc/self/status"].map(|arg| CString::new(arg).unwrap());
        // Its stdout is what it is handed as null.
        let (fd, stderr, handed) = (out.as_fd(), null.as_fd(), &[]);
        let spawn = Spawn { program: program.as_fd(), args: &args, null: fd, stderr, handed, cgroup: None };
        spawn.start().unwrap().reap();
        out.rewind().unwrap();
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        let ignored = u64::from_str_radix(text.trim_start_matches("SigIgn:").trim(), 16).unwrap();
        // 32 and 33 are libc's.
        assert_eq!(ignored & !(0b11 << 31), 0, "{ignored:x}");
    }

    #[test]
    fn child_has_the_descriptors_it_was_handed_in_order_and_no_others() {
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let shell = File::open("/bin/sh").unwrap();
        let mut out = tempfile::tempfile().unwrap();
        let mut input = tempfile::tempfile().unwrap();
        input.write_all(b"three").unwrap();
        input.rewind().unwrap();
        let script = "read word <&3; echo $word /proc/self/fd/* >&4";
        let args = ["sh", "-c", script].map(|arg| CString::new(arg).unwrap());
        let spawn = Spawn {
            program: shell.as_fd(),
            args: &args,
            null: null.as_fd(),
            stderr: null.as_fd(),
            handed: &[input.as_fd(), out.as_fd()],
            cgroup: None,
        };
        let child = spawn.start().unwrap();
        child.reap();
        assert!(child.has_ended());
        out.rewind().unwrap();
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        // The shell's own /proc/self/fd folder may show as one more.
        assert!(
            text.starts_with(
                "three /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3 /proc/self/fd/4"
            ),
            "{text}"
        );
        assert!(text.split_whitespace().count() <= 7, "{text}");
    }
}
