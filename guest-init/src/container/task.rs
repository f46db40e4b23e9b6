//! What containers and execs have in common for the agent: a process, from the set-up to its end, with
//! its streams and those who wait for it.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, Signal, WaitStatus, kill_process};

use super::cgroup::Cgroup;
use super::spec::{ValidProcess, ValidSpec};
use super::{control, init};
use crate::agent::Key;
use crate::error::{Step, StepError};
use crate::process::stdio::{self, AgentEnds, ContainerEnds};
use crate::protocol::{CallError, ContainerState, ExitStatus};

pub struct Task {
    pub id: String,
    pub role: Role,
    pub stage: Stage,
    /// The process, until it is reaped: only so long is its number its own.
    pub process: Option<Pid>,
    /// To that process, until its exec.
    pub control: Option<OwnedFd>,
    /// Whether an input will be attached.
    wants_stdin: bool,
    /// Streams that nobody is attached to yet.
    pub ends: AgentEnds,
    pub terminal: Option<OwnedFd>,
    /// The stream that feeds it; ends with it.
    pub stdin: Option<Key>,
    pub waiters: Vec<Key>,
    /// Calls that want it gone.
    pub deleters: Vec<Key>,
    pub being_deleted: bool,
    /// Its own: a container's, or that of an exec beside one.
    pub cgroup: Option<Cgroup>,
    /// That cgroup's `cgroup.events`, while something of it is waited for.
    pub cgroup_events: Option<OwnedFd>,
}

pub enum Role {
    Container(Box<Container>),
    Exec { container: Key },
}

/// What only a container has.
pub struct Container {
    pub spec: ValidSpec,
    pub freeze: Freeze,
}

/// Whether its processes are kept from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freeze {
    Running,
    /// Not all of them have stopped; `session` waits for that.
    Freezing {
        session: Key,
    },
    Frozen,
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

/// A process that is setting itself up, as its parent sees it.
pub struct Forked {
    pub process: Pid,
    pub control: OwnedFd,
    pub ends: AgentEnds,
}

/// What a new process and the agent talk through.
pub struct Channels {
    pub control: OwnedFd,
    pub ends: AgentEnds,
    pub own_control: OwnedFd,
    pub own_ends: ContainerEnds,
}

impl Channels {
    pub fn open(process: &ValidProcess) -> Result<Self, StepError> {
        let (control, own_control) = control::pair().step("make a control socket")?;
        let (own_ends, ends) = match process.terminal {
            Some(_) => (ContainerEnds::default(), AgentEnds::default()),
            None => stdio::pipes(process.stdin).step("make pipes for the standard streams")?,
        };
        Ok(Channels { control, ends, own_control, own_ends })
    }
}

impl Task {
    pub fn new(id: String, role: Role, forked: Forked, wants_stdin: bool, session: Key) -> Self {
        Task {
            id,
            role,
            stage: Stage::Creating { session, failure: None },
            process: Some(forked.process),
            control: Some(forked.control),
            wants_stdin,
            ends: forked.ends,
            terminal: None,
            stdin: None,
            waiters: Vec::new(),
            deleters: Vec::new(),
            being_deleted: false,
            cgroup: None,
            cgroup_events: None,
        }
    }

    pub fn container(&self) -> Option<&Container> {
        match &self.role {
            Role::Container(container) => Some(container),
            Role::Exec { .. } => None,
        }
    }

    pub fn container_mut(&mut self) -> Option<&mut Container> {
        match &mut self.role {
            Role::Container(container) => Some(container),
            Role::Exec { .. } => None,
        }
    }

    /// The container that it has entered, if it is an exec.
    pub fn exec_of(&self) -> Option<Key> {
        match self.role {
            Role::Exec { container } => Some(container),
            Role::Container(_) => None,
        }
    }

    /// A container's part of the set-up that comes after its own.
    pub fn restrict_devices(&self) -> Result<(), StepError> {
        match (&self.role, &self.cgroup) {
            (Role::Container(_), Some(cgroup)) => cgroup.restrict_devices(),
            (Role::Container(_), None) | (Role::Exec { .. }, _) => Ok(()),
        }
    }

    /// Takes over the terminal that the process has opened.
    pub fn adopt_terminal(&mut self, terminal: OwnedFd) -> Result<(), StepError> {
        let what = "take over the container's terminal";
        stdio::set_nonblocking(&terminal).step(what)?;
        let copy = || rustix::io::fcntl_dupfd_cloexec(&terminal, 3).step(what);
        self.ends.stdout = Some(copy()?);
        if self.wants_stdin {
            self.ends.stdin = Some(copy()?);
        }
        self.terminal = Some(terminal);
        Ok(())
    }

    /// Kills the process, and with a cgroup of its own all others. A container's first one takes its
    /// PID namespace with it.
    pub fn kill(&self) {
        if let Some(process) = self.process {
            let _ = kill_process(process, Signal::KILL);
        }
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
    }

    /// Kills what outlives the process. A PID namespace of its own has left nothing.
    pub fn kill_remains(&self) {
        let may_have = match &self.role {
            Role::Container(container) => container.spec.share.pid.is_some(),
            Role::Exec { .. } => true,
        };
        if let Some(cgroup) = self.cgroup.as_ref().filter(|_| may_have) {
            cgroup.kill();
        }
    }

    /// The process has been reaped: its status is final.
    pub fn exited(&mut self, status: WaitStatus, oom_killed: bool) -> ExitStatus {
        let status = ExitStatus { code: init::exit_code(status), oom_killed };
        self.stage = Stage::Exited(status);
        status
    }

    pub fn state(&self) -> ContainerState {
        match self.stage {
            Stage::Creating { .. } | Stage::Created => ContainerState::Created,
            Stage::Starting { .. } | Stage::Running => ContainerState::Running { pid: number(self.process) },
            Stage::Exited(status) => ContainerState::Exited { status },
        }
    }
}

/// 0 is none.
pub fn number(process: Option<Pid>) -> u32 {
    process.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok()).unwrap_or(0)
}
