//! The container's first process, from its fork to the exec: first everything that needs the agent's
//! place and powers, then, told to start, the giving up of them.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal, setsid, umask,
};
use rustix::thread::{Gid, Uid, set_no_new_privs, set_thread_groups, set_thread_res_gid};

use super::cgroup::Cgroup;
use super::dev::Terminal;
use super::spec::ValidSpec;
use super::user::Identity;
use super::{caps, control, dev, exec, init, mounts, namespaces, overlaid, rlimits, rootfs, seccomp, user};
use crate::error::{Step, StepError};
use crate::process::stdio::ContainerEnds;
use crate::protocol::{ErrorKind, Seccomp};
use crate::sys;

/// Exit codes of a process whose exec failed, as docker's.
const NOT_FOUND: i32 = 127;
const CANNOT_EXECUTE: i32 = 126;
const FAILED: i32 = 125;

/// What the process needs of what the agent prepared.
pub struct FirstProcess<'a> {
    pub spec: &'a ValidSpec,
    pub cgroup: &'a Cgroup,
    pub control: &'a OwnedFd,
    pub stdio: &'a ContainerEnds,
    pub descriptors: Rlimit,
}

/// The container as it stands before the command: its standard streams and its user.
struct Prepared {
    identity: Identity,
    streams: Streams,
}

/// Where the command's standard streams go.
enum Streams {
    Terminal(OwnedFd),
    Apart { null: OwnedFd },
}

impl FirstProcess<'_> {
    /// Runs in the new process; ends in the command or in its own exit.
    pub fn run(&self) -> ! {
        let prepared = match self.prepare() {
            Ok(prepared) => prepared,
            Err(error) => self.fail(error),
        };
        if !control::wait_for_start(self.control) {
            sys::exit_now(FAILED);
        }
        let error = match self.become_command(&prepared) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        self.fail(error)
    }

    fn fail(&self, error: StepError) -> ! {
        let code = match error.kind() {
            ErrorKind::CommandNotFound => NOT_FOUND,
            ErrorKind::CannotExecute => CANNOT_EXECUTE,
            _ => FAILED,
        };
        control::send_failure(self.control, error);
        sys::exit_now(code)
    }

    fn prepare(&self) -> Result<Prepared, StepError> {
        self.cut_loose()?;
        self.cgroup.join_v1()?;
        namespaces::enter_cgroup_namespace()?;
        namespaces::join_session_keyring()?;
        namespaces::loopback_up()?;
        namespaces::open_to_users();
        rustix::system::sethostname(self.spec.hostname.as_bytes()).step("set the hostname")?;
        let root = rootfs::mount(&self.spec.root.source)?;
        let files = overlaid::prepare(&self.spec.files)?;
        rootfs::enter(&root)?;
        drop(root);
        self.furnish(files)?;
        let (streams, controller) = self.open_streams()?;
        self.finish_root()?;
        let identity = user::look_up(self.spec.process.user.as_bytes())?;
        streams.give_to(&identity, self.stdio)?;
        control::send_ready(self.control, controller.as_ref()).step("report to the agent")?;
        Ok(Prepared { identity, streams })
    }

    /// Closes what the agent has open, and makes sure that it dies with the agent.
    fn cut_loose(&self) -> Result<(), StepError> {
        let mut keep = vec![self.control.as_raw_fd()];
        keep.extend(self.stdio.raw());
        keep.extend(self.cgroup.raw());
        sys::close_all_but(&mut keep);
        sys::reset_signals();
        set_dumpable_behavior(DumpableBehavior::NotDumpable).step("become non-dumpable")?;
        set_parent_process_death_signal(Some(Signal::KILL)).step("set the parent death signal")?;
        setsid().step("start a session")?;
        umask(Mode::empty());
        Ok(())
    }

    /// What is mounted in the root, from here seen at "/".
    fn furnish(&self, files: Vec<overlaid::Prepared<'_>>) -> Result<(), StepError> {
        let spec = self.spec;
        mounts::proc_and_dev(spec.resources.shm_bytes)?;
        dev::populate()?;
        mounts::sys(&self.cgroup.view())?;
        overlaid::mount_tmpfs(&spec.tmpfs)?;
        overlaid::bind(files)
    }

    fn open_streams(&self) -> Result<(Streams, Option<OwnedFd>), StepError> {
        match self.spec.process.terminal {
            Some(size) => {
                let Terminal { controller, terminal } = dev::open_terminal(size)?;
                Ok((Streams::Terminal(terminal), Some(controller)))
            }
            None => Ok((Streams::Apart { null: overlaid::open_null()? }, None)),
        }
    }

    fn finish_root(&self) -> Result<(), StepError> {
        overlaid::enter_working_directory(&self.spec.process.cwd)?;
        mounts::mask(&self.spec.masked_paths)?;
        mounts::make_readonly(&self.spec.readonly_paths)?;
        if self.spec.root.readonly { mounts::make_root_readonly() } else { Ok(()) }
    }

    fn become_command(&self, prepared: &Prepared) -> Result<std::convert::Infallible, StepError> {
        let process = &self.spec.process;
        prepared.streams.install(self.stdio)?;
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
        Err(exec::exec(&process.args, &env))
    }

    /// Without no_new_privs a filter takes CAP_SYS_ADMIN to load, so it goes first and must allow what
    /// follows; with it the filter goes last, so that it sees least.
    fn give_up_privileges(&self, identity: &Identity) -> Result<(), StepError> {
        let process = &self.spec.process;
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
        .step("give the standard streams to the user")
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
    set_thread_groups(&groups).step("set the supplementary groups")?;
    set_thread_res_gid(gid, gid, gid).step(format_args!("become group {}", identity.gid))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).step(format_args!("become user {}", identity.uid))
}

/// The namespaces the first process is made in. The cgroup namespace comes later: its root is the cgroup
/// of the process that makes it.
pub const NAMESPACES: libc::c_int =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNET;
