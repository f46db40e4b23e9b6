//! The parent: makes the server's surroundings, then mounts and unmounts shares until either end closes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;

use hull_fs::control::{Command, ControlError, receive_command, send_answer};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitIdStatus, getrlimit, pidfd_open,
    pidfd_send_signal, setrlimit, waitid,
};

use crate::capabilities::{self, CapabilityError};
use crate::chain;
use crate::filter::{self, FilterError};
use crate::namespaces::{self, NamespaceError};
use crate::server;
use crate::staging::{Staging, StagingError};

#[derive(Debug, thiserror::Error)]
pub enum StagerError {
    #[error("Failed to set the limit of open files")]
    FileLimit(#[source] Errno),
    #[error("Failed to leave the host")]
    Namespace(#[from] NamespaceError),
    #[error("Failed to make the shares' root")]
    Staging(#[from] StagingError),
    #[error("Failed to start the file server")]
    Start(#[source] io::Error),
    #[error("Failed to give up privileges")]
    Capability(#[from] CapabilityError),
    #[error("Failed to filter system calls")]
    Filter(#[from] FilterError),
    #[error("Failed to wait for the supervisor and the file server")]
    Wait(#[source] Errno),
    #[error("Failed to talk to the supervisor")]
    Control(#[from] ControlError),
    #[error("The file server was killed by signal {0} ({name})", name = signal_name(*.0))]
    Killed(i32),
    #[error("The file server ended with exit code {0}")]
    Exited(i32),
}

/// Until the supervisor or the machine closes its connection, which is a good end; or the server dies.
pub fn run(control: OwnedFd, listener: OwnedFd, max_files: u64) -> Result<(), StagerError> {
    expect_children();
    set_file_limit(max_files).map_err(StagerError::FileLimit)?;
    namespaces::leave()?;
    let staging = Staging::prepare()?;
    let (server, control, staging) = Server::start(control, listener, staging)?;
    capabilities::keep(capabilities::STAGER)?;
    filter::confine(filter::STAGER)?;
    attend(control, server, staging)
}

/// Where whoever started this ignored their ends, there would be none to wait for (waitid(2)).
fn expect_children() {
    // SAFETY: the default has no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// For the server, which inherits it; root of the host may exceed the limit it was given, and it is root for
/// the last time.
fn set_file_limit(most: u64) -> Result<(), Errno> {
    let both = |files| Rlimit { current: files, maximum: files };
    match setrlimit(Resource::Nofile, both(Some(most))) {
        // EPERM: beyond its own limit, without CAP_SYS_RESOURCE, or beyond fs.nr_open (setrlimit(2)).
        Err(Errno::PERM) => setrlimit(Resource::Nofile, both(getrlimit(Resource::Nofile).maximum)),
        result => result,
    }
}

struct Server {
    pidfd: OwnedFd,
}

impl Server {
    /// Forks it, and waits until it has changed the root of both.
    fn start(
        control: OwnedFd,
        listener: OwnedFd,
        staging: Staging,
    ) -> Result<(Server, OwnedFd, Staging), StagerError> {
        let failed = |errno: Errno| StagerError::Start(errno.into());
        let (entered, tell) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        // SAFETY: this process has a single thread.
        let pid = match unsafe { libc::fork() } {
            -1 => return Err(StagerError::Start(io::Error::last_os_error())),
            0 => {
                // All that only the stager may have.
                drop((control, staging, entered));
                process::exit(server::run(listener, tell))
            }
            pid => pid,
        };
        drop((listener, tell));
        let pid = Pid::from_raw(pid).ok_or(Errno::SRCH).map_err(failed)?;
        let server = Server { pidfd: pidfd_open(pid, PidfdFlags::empty()).map_err(failed)? };
        let mut byte = [0];
        let told = loop {
            match rustix::io::read(&entered, &mut byte) {
                Err(Errno::INTR) => {}
                told => break told.map_err(failed)?,
            }
        };
        match told {
            // It has told on standard error what failed.
            0 => server.end().and(Err(StagerError::Exited(0))),
            _ => Ok((server, control, staging)),
        }
    }

    /// How it ended; waits for that.
    fn end(&self) -> Result<(), StagerError> {
        let status = self.wait()?;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => Ok(()),
            (Some(code), _) => Err(StagerError::Exited(code)),
            (None, signal) => Err(StagerError::Killed(signal.unwrap_or_default())),
        }
    }

    /// The supervisor is gone and with it the machine: nothing is left to be served.
    fn kill(&self) -> Result<(), StagerError> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            // It was faster.
            Ok(()) | Err(Errno::SRCH) => self.wait().map(drop),
            Err(errno) => Err(StagerError::Wait(errno)),
        }
    }

    fn wait(&self) -> Result<WaitIdStatus, StagerError> {
        loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) | Err(Errno::INTR) => {}
                Err(errno) => return Err(StagerError::Wait(errno)),
            }
        }
    }
}

/// Two events: the supervisor's, and the server's end.
fn attend(control: OwnedFd, server: Server, mut staging: Staging) -> Result<(), StagerError> {
    loop {
        let mut events = [PollFd::new(&control, PollFlags::IN), PollFd::new(&server.pidfd, PollFlags::IN)];
        match poll(&mut events, None) {
            Err(Errno::INTR) => continue,
            result => result.map_err(StagerError::Wait)?,
        };
        let [supervisor, child] = events.map(|event| !event.revents().is_empty());
        if child {
            return server.end();
        }
        if supervisor && !obey(control.as_fd(), &mut staging)? {
            return server.kill();
        }
    }
}

/// One command. False: the supervisor is gone.
fn obey(control: BorrowedFd<'_>, staging: &mut Staging) -> Result<bool, StagerError> {
    let result = match receive_command(control) {
        Ok(None) => return Ok(false),
        Ok(Some((Command::Add { name }, mount))) => staging.add(name, mount),
        Ok(Some((Command::ReadOnly { name }, _))) => staging.make_read_only(&name),
        Ok(Some((Command::Remove { name }, _))) => staging.remove(&name),
        Err(error @ ControlError::Socket { .. }) => return Err(error.into()),
        Err(error) => return answer(control, Err(chain(&error))),
    };
    answer(control, result.map_err(|error| chain(&error)))
}

fn answer(control: BorrowedFd<'_>, result: Result<(), String>) -> Result<bool, StagerError> {
    match send_answer(control, result) {
        Ok(()) => Ok(true),
        Err(ControlError::HungUp) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// signal(7): those a server ends by.
fn signal_name(number: i32) -> &'static str {
    match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGSYS => "SIGSYS: a system call that is not on its list",
        _ => "an unusual one",
    }
}
