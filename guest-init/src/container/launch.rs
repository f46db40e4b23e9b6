//! From a process in its namespaces to the command it was made for: the same for a container's first
//! process and for those that enter it later.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal, setsid, umask,
};
use rustix::thread::{Gid, Uid, set_no_new_privs, set_thread_groups, set_thread_res_gid};

use super::cgroup::LateJoin;
use super::spec::ValidProcess;
use super::task::Channels;
use super::user::Identity;
use super::{caps, command, control, init, rlimits, seccomp};
use crate::error::{Step, StepError};
use crate::process::stdio::ContainerEnds;
use crate::protocol::{ErrorKind, Seccomp};
use crate::sys;

/// Exit codes of a process whose exec failed, as docker's.
const NOT_FOUND: i32 = 127;
const CANNOT_EXECUTE: i32 = 126;
const FAILED: i32 = 125;

/// What the process needs of what the agent prepared.
pub struct Launch<'a> {
    pub process: &'a ValidProcess,
    pub channels: &'a Channels,
    pub descriptors: Rlimit,
}

/// The process as it stands before the command: its standard streams and its user.
pub struct Prepared {
    pub identity: Identity,
    pub streams: Streams,
    /// The agent's end of the terminal.
    pub controller: Option<OwnedFd>,
    /// Cgroups to join at the start.
    pub late_joins: Vec<LateJoin>,
}

/// Where the command's standard streams go.
pub enum Streams {
    Terminal(OwnedFd),
    Apart { null: OwnedFd },
}

impl Launch<'_> {
    /// Runs in the new process; ends in the command or in its own exit.
    pub fn run(&self, prepare: impl FnOnce() -> Result<Prepared, StepError>) -> ! {
        let prepared = prepare().and_then(|prepared| self.report(&prepared).map(|()| prepared));
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => self.fail(error),
        };
        if !control::wait_for_start(self.own_control()) {
            sys::exit_now(FAILED);
        }
        let error = match self.become_command(&prepared) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        self.fail(error)
    }

    fn own_control(&self) -> &OwnedFd {
        &self.channels.own_control
    }

    fn stdio(&self) -> &ContainerEnds {
        &self.channels.own_ends
    }

    fn fail(&self, error: StepError) -> ! {
        let code = match error.kind() {
            ErrorKind::CommandNotFound => NOT_FOUND,
            ErrorKind::CannotExecute => CANNOT_EXECUTE,
            _ => FAILED,
        };
        control::send_failure(self.own_control(), error);
        sys::exit_now(code)
    }

    fn report(&self, prepared: &Prepared) -> Result<(), StepError> {
        prepared.streams.give_to(&prepared.identity, self.stdio())?;
        control::send_ready(self.own_control(), prepared.controller.as_ref()).step("report to the agent")
    }

    /// Closes what the agent has open but for `also`, and makes sure that it dies with the agent.
    pub fn cut_loose(&self, also: impl Iterator<Item = RawFd>) -> Result<(), StepError> {
        self.close_all_but(also);
        sys::reset_signals();
        set_dumpable_behavior(DumpableBehavior::NotDumpable).step("become non-dumpable")?;
        set_parent_process_death_signal(Some(Signal::KILL)).step("set the parent death signal")?;
        setsid().step("start a session")?;
        umask(Mode::empty());
        Ok(())
    }

    pub fn close_all_but(&self, also: impl Iterator<Item = RawFd>) {
        let mut keep = vec![self.own_control().as_raw_fd()];
        keep.extend(self.stdio().raw());
        keep.extend(also);
        sys::close_all_but(&mut keep);
    }

    fn become_command(&self, prepared: &Prepared) -> Result<std::convert::Infallible, StepError> {
        let process = self.process;
        prepared.late_joins.iter().for_each(LateJoin::join);
        prepared.streams.install(self.stdio())?;
        rlimits::apply(&process.rlimits, self.descriptors)?;
        umask(Mode::from_raw_mode(0o022));
        self.give_up_privileges(&prepared.identity)?;
        let mut env = process.env.clone();
        if !env.iter().any(|entry| entry.as_bytes().starts_with(b"HOME=")) {
            let home = [b"HOME=", prepared.identity.home.as_slice()].concat();
            // The image's passwd may hold anything; a NUL ends a field for the C library too.
            env.extend(std::ffi::CString::new(home));
        }
        if process.init {
            let terminal = matches!(prepared.streams, Streams::Terminal(_));
            init::stay_as_reaper(terminal)?;
        }
        Err(command::exec(&process.args, &env))
    }

    /// Without no_new_privs a filter takes CAP_SYS_ADMIN to load, so it goes first and must allow what
    /// follows; with it the filter goes last, so that it sees least.
    fn give_up_privileges(&self, identity: &Identity) -> Result<(), StepError> {
        let process = self.process;
        let mut filter = match process.seccomp {
            Seccomp::Default => Some(seccomp::default_program(process.capabilities)),
            Seccomp::Unconfined => None,
        };
        if !process.no_new_privileges {
            filter.take().map_or(Ok(()), |mut program| seccomp::load(&mut program))?;
        }
        caps::bound(process.capabilities)?;
        set_user(identity)?;
        caps::hold(process.capabilities, identity.uid)?;
        // Changing the user has cleared it.
        set_parent_process_death_signal(Some(Signal::KILL)).step("set the parent death signal")?;
        if process.no_new_privileges {
            set_no_new_privs(true).step("set no_new_privs")?;
            filter.take().map_or(Ok(()), |mut program| seccomp::load(&mut program))?;
        }
        Ok(())
    }
}

impl Streams {
    /// Lets the container's user open /dev/stdout and the like again by name.
    fn give_to(&self, identity: &Identity, stdio: &ContainerEnds) -> Result<(), StepError> {
        if identity.uid == 0 {
            return Ok(());
        }
        let owner = Some(Uid::from_raw(identity.uid));
        match self {
            Streams::Terminal(terminal) => rustix::fs::fchown(terminal, owner, None),
            Streams::Apart { .. } => stdio.pipes().try_for_each(|pipe| rustix::fs::fchown(pipe, owner, None)),
        }
        .map_err(|cause| identity.refused(cause, "give the standard streams to the user"))
    }

    fn install(&self, stdio: &ContainerEnds) -> Result<(), StepError> {
        let onto = |fd: &OwnedFd, number| sys::duplicate_onto(fd.as_fd(), number);
        match self {
            Streams::Terminal(terminal) => {
                rustix::process::ioctl_tiocsctty(terminal).step("take the terminal")?;
                (0..3).try_for_each(|number| onto(terminal, number))
            }
            Streams::Apart { null } => {
                let stream = |end: &Option<OwnedFd>, number| onto(end.as_ref().unwrap_or(null), number);
                stream(&stdio.stdin, 0)
                    .and_then(|()| stream(&stdio.stdout, 1))
                    .and_then(|()| stream(&stdio.stderr, 2))
            }
        }
        .step("set up the standard streams")
    }
}

fn set_user(identity: &Identity) -> Result<(), StepError> {
    let groups: Vec<_> = identity.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    match set_thread_groups(&groups) {
        // In a user namespace of one id: the groups are those of hull's user, for good, and not the
        // container's to name.
        Err(Errno::PERM) if sys::in_user_namespace() => (),
        other => other.step("set the supplementary groups")?,
    }
    set_thread_res_gid(gid, gid, gid).map_err(|cause| identity.refused(cause, "set the group"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(|cause| identity.refused(cause, "set the user"))
}
