//! A process that enters a container that runs.
//!
//! Nothing in the container is trusted here. The process is born in the container's cgroup and PID
//! namespace, non-dumpable as the agent is, so that the container's processes can neither trace it nor
//! open its /proc entries; whatever it has of the agent is closed before it sees the container's mounts,
//! and no path is followed through /proc's magic links (CVE-2019-5736, CVE-2024-21626).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Rlimit, pidfd_open};
use rustix::thread::{ThreadNameSpaceType as Namespaces, move_into_thread_name_spaces};

use super::cgroup::Cgroup;
use super::dev::{self, Terminal};
use super::launch::{Launch, Prepared, Streams};
use super::spec::{SpecError, ValidProcess};
use super::task::{Channels, Forked};
use super::{caps, namespaces, paths, spec, user};
use crate::error::{Step, StepError, shown};
use crate::protocol::{CallError, ErrorKind, ExecPlace, ExecSpec, Seccomp};
use crate::sys::{self, Fork, PidNamespace};

/// All a container has; its cgroup is joined before.
const ALL: Namespaces = Namespaces::MOUNT
    .union(Namespaces::CONTROL_GROUP)
    .union(Namespaces::HOST_NAME_AND_NIS_DOMAIN_NAME)
    .union(Namespaces::INTER_PROCESS_COMMUNICATION)
    .union(Namespaces::NETWORK);

/// An exec that holds together.
pub struct ValidExec {
    pub process: ValidProcess,
    pub place: ExecPlace,
}

/// Where it goes.
pub struct Target<'a> {
    /// The container's first process, which has not been reaped.
    pub process: Pid,
    /// The cgroup to be in: the container's, or one of its own beside it.
    pub cgroup: &'a Cgroup,
    /// The agent is in the container's network namespace itself. (It may not be the agent's to enter.)
    pub shares_network: bool,
    pub descriptors: Rlimit,
}

/// Checks what an exec asks for.
pub fn validate(exec: ExecSpec, place: spec::Place) -> Result<ValidExec, CallError> {
    spec::check_id("exec_id", &exec.exec_id)?;
    if exec.process.init {
        return Err(
            SpecError::Exec("process.init: only a container's first process can have a reaper").into()
        );
    }
    if exec.place == ExecPlace::Beside && place == spec::Place::Host {
        return Err(SpecError::Exec("place: beside a container is the host itself here").into());
    }
    let mut process = spec::validate_process(exec.process)?;
    if exec.place == ExecPlace::Beside {
        process.capabilities = caps::own()?;
        process.seccomp = Seccomp::Unconfined;
    }
    Ok(ValidExec { process, place: exec.place })
}

/// Forks the process, which sets itself up.
pub fn fork(exec: &ValidExec, target: &Target<'_>) -> Result<Forked, StepError> {
    let channels = Channels::open(&exec.process)?;
    let container = pidfd_open(target.process, PidfdFlags::empty()).step("open the container's process")?;
    let inside = exec.place == ExecPlace::Container;
    let namespace = if inside { PidNamespace::Of(&container) } else { PidNamespace::Own };
    // SAFETY: the agent has a single thread.
    let fork = unsafe { sys::clone_in(namespace, 0, target.cgroup.unified()) };
    match fork {
        Ok(Fork::Parent(process)) => Ok(Forked { process, control: channels.control, ends: channels.ends }),
        Ok(Fork::Child) => {
            let launch =
                Launch { process: &exec.process, channels: &channels, descriptors: target.descriptors };
            Entering { exec, target, container: &container, launch }.run()
        }
        // What a PID namespace whose first process has ended answers (pid_namespaces(7)).
        Err(Errno::NOMEM | Errno::SRCH) => Err(StepError::new(ErrorKind::State, "The container has ended")),
        Err(cause) => Err(cause).step("fork into the container"),
    }
}

struct Entering<'a> {
    exec: &'a ValidExec,
    target: &'a Target<'a>,
    container: &'a OwnedFd,
    launch: Launch<'a>,
}

impl Entering<'_> {
    fn run(&self) -> ! {
        self.launch.run(|| self.prepare())
    }

    fn prepare(&self) -> Result<Prepared, StepError> {
        let kept = self.target.cgroup.raw().chain([self.container.as_raw_fd()]);
        self.launch.cut_loose(kept)?;
        self.target.cgroup.join_v1()?;
        namespaces::join_session_keyring()?;
        let proc = paths::open_proc()?;
        let entered = match self.exec.place {
            ExecPlace::Container if self.target.shares_network => ALL.difference(Namespaces::NETWORK),
            ExecPlace::Container => ALL,
            ExecPlace::Beside => Namespaces::MOUNT,
        };
        move_into_thread_name_spaces(self.container.as_fd(), entered)
            .step("enter the container's namespaces")?;
        // The cgroup's folders are the host's.
        self.launch.close_all_but([proc.as_raw_fd()].into_iter());
        let process = self.launch.process;
        enter_working_directory(process.cwd.as_bytes())?;
        let (streams, controller) = match process.terminal {
            Some(size) => {
                let Terminal { controller, terminal } = dev::open_terminal(size)?;
                (Streams::Terminal(terminal), Some(controller))
            }
            None => (Streams::Apart { null: dev::open_null(OFlags::RDWR | OFlags::NOCTTY)? }, None),
        };
        let identity = user::look_up(process.user.as_bytes(), &proc)?;
        Ok(Prepared { identity, streams, controller, late_joins: Vec::new() })
    }
}

/// Unlike a container's, it has to be there.
fn enter_working_directory(path: &[u8]) -> Result<(), StepError> {
    let what = || format!("chdir to cwd ({:?})", shown(path).to_string());
    let refused = |cause| {
        let kind = match cause {
            Errno::NOENT => ErrorKind::CommandNotFound,
            _ => ErrorKind::CannotExecute,
        };
        StepError::because(kind, what(), cause)
    };
    let folder = paths::open(path, OFlags::PATH | OFlags::DIRECTORY).map_err(refused)?;
    rustix::process::fchdir(folder).map_err(refused)?;
    // getcwd(2) of what is not below the root begins with "(unreachable)".
    let reached = rustix::process::getcwd(Vec::new()).map_err(refused)?;
    if reached.as_bytes().first() != Some(&b'/') {
        return Err(StepError::new(ErrorKind::CannotExecute, format!("{}: outside the container", what())));
    }
    Ok(())
}
