//! A container, from the set-up to its end.
//!
//! ```text
//!            Ready            Start            exec           end
//! Creating ────────► Created ──────► Starting ──────► Running ────► Exited
//!    │ failure, cancel  │ end                            ▲             │ Delete
//!    ▼                  └────────────────────────────────│─► Exited    ▼
//!  (gone)                          exec failed ──────────┘           (gone)
//! ```

mod caps;
pub mod cgroup;
pub mod control;
pub mod dev;
mod exec;
pub mod init;
mod mount_attr;
mod mounts;
pub mod namespaces;
mod overlaid;
mod paths;
pub mod rlimits;
mod rootfs;
mod seccomp;
mod setup;
pub mod spec;
mod user;

use std::os::fd::OwnedFd;

use rustix::process::{Pid, Rlimit, WaitStatus};

use self::cgroup::{Cgroup, Layout};
use self::setup::{FirstProcess, NAMESPACES};
use self::spec::ValidSpec;
use crate::agent::Key;
use crate::error::{Step, StepError};
use crate::process::stdio::{self, AgentEnds, ContainerEnds};
use crate::protocol::{CallError, ContainerState, ExitStatus};
use crate::sys::{self, Fork};

/// What containers are made with, the same for each.
pub struct Surroundings {
    pub layout: Layout,
    /// The limit of open descriptors that a container inherits.
    pub descriptors: Rlimit,
}

impl Surroundings {
    /// Looks at this machine and fits the agent's own limits to its work.
    pub fn discover() -> Result<Self, StepError> {
        Ok(Surroundings { layout: Layout::discover()?, descriptors: rlimits::raise_descriptors() })
    }
}

pub struct Container {
    pub spec: ValidSpec,
    pub stage: Stage,
    pub cgroup: Cgroup,
    /// The first process, until it is reaped: only so long is its number its own.
    pub process: Option<Pid>,
    /// To that process, until its exec.
    pub control: Option<OwnedFd>,
    /// Streams that nobody is attached to yet.
    pub ends: AgentEnds,
    pub terminal: Option<OwnedFd>,
    /// The stream that feeds it; ends with it.
    pub stdin: Option<Key>,
    pub waiters: Vec<Key>,
    /// Calls that want it gone.
    pub deleters: Vec<Key>,
    pub being_deleted: bool,
    /// Its cgroup's `cgroup.events`, while that is waited for.
    pub cgroup_events: Option<OwnedFd>,
}

pub enum Stage {
    /// For `session`, which goes with it. A failure is told once nothing is left.
    Creating {
        session: Key,
        failure: Option<CallError>,
    },
    Created,
    Starting {
        session: Key,
    },
    Running,
    Exited(ExitStatus),
}

impl Container {
    /// Makes the cgroup and forks the first process, which sets everything else up.
    pub fn create(spec: ValidSpec, surroundings: &Surroundings, session: Key) -> Result<Self, StepError> {
        let mut cgroup = Cgroup::create(&surroundings.layout, &spec.cgroup, &spec.resources)?;
        match fork_first_process(&spec, &cgroup, surroundings.descriptors) {
            Ok((process, control, ends)) => Ok(Container {
                spec,
                stage: Stage::Creating { session, failure: None },
                cgroup,
                process: Some(process),
                control: Some(control),
                ends,
                terminal: None,
                stdin: None,
                waiters: Vec::new(),
                deleters: Vec::new(),
                being_deleted: false,
                cgroup_events: None,
            }),
            Err(error) => {
                cgroup.remove();
                Err(error)
            }
        }
    }

    /// Takes over the terminal that the first process has opened.
    pub fn adopt_terminal(&mut self, terminal: OwnedFd) -> Result<(), StepError> {
        let what = "take over the container's terminal";
        stdio::set_nonblocking(&terminal).step(what)?;
        let copy = || rustix::io::fcntl_dupfd_cloexec(&terminal, 3).step(what);
        self.ends.stdout = Some(copy()?);
        if self.spec.process.stdin {
            self.ends.stdin = Some(copy()?);
        }
        self.terminal = Some(terminal);
        Ok(())
    }

    /// Kills all its processes. The first one takes its PID namespace with it.
    pub fn kill(&self) {
        if let Some(process) = self.process {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
        self.cgroup.kill();
    }

    /// The first process has been reaped: its status is final.
    pub fn exited(&mut self, status: WaitStatus) -> ExitStatus {
        let status = ExitStatus { code: init::exit_code(status), oom_killed: self.cgroup.oom_killed() };
        self.stage = Stage::Exited(status);
        status
    }

    pub fn state(&self) -> ContainerState {
        let pid = self.process.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok()).unwrap_or(0);
        match self.stage {
            Stage::Creating { .. } | Stage::Created => ContainerState::Created,
            Stage::Starting { .. } | Stage::Running => ContainerState::Running { pid },
            Stage::Exited(status) => ContainerState::Exited { status },
        }
    }
}

fn fork_first_process(
    spec: &ValidSpec,
    cgroup: &Cgroup,
    descriptors: Rlimit,
) -> Result<(Pid, OwnedFd, AgentEnds), StepError> {
    let (control, container_control) = control::pair().step("make a control socket")?;
    let (container_ends, agent_ends) = match spec.process.terminal {
        Some(_) => (ContainerEnds::default(), AgentEnds::default()),
        None => stdio::pipes(spec.process.stdin).step("make pipes for the standard streams")?,
    };
    // SAFETY: the agent has a single thread.
    let fork = unsafe { sys::clone_into(NAMESPACES, cgroup.unified()) };
    match fork.step("fork into new namespaces")? {
        Fork::Parent(pid) => Ok((pid, control, agent_ends)),
        Fork::Child => {
            FirstProcess { spec, cgroup, control: &container_control, stdio: &container_ends, descriptors }
                .run()
        }
    }
}
