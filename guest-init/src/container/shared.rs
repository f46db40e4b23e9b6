//! Namespaces that several containers are in: a pod's, which the sandbox owns, and another container's.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags, mount, open_tree};
use rustix::process::{Pid, Signal, WaitOptions, set_parent_process_death_signal, waitpid};
use rustix::thread::{ThreadNameSpaceType as Namespaces, move_into_thread_name_spaces};

use super::control::{self, News};
use super::namespaces;
use super::setup::NAMESPACES;
use crate::error::{Step, StepError};
use crate::protocol::{CallError, ErrorKind};
use crate::sys::{self, Fork, PidNamespace};

/// Where the agent keeps a pod's shared memory in its own mount namespace, of which each container's begins
/// as a copy. The agent itself has no use for the place.
const SHM: &str = "/dev/shm";
/// As docker's default.
const SHM_OPTIONS: &std::ffi::CStr = c"mode=1777,size=64m";

/// The namespaces of a pod, each as a descriptor that keeps it.
pub struct Pod {
    /// None: the sandbox has a network, which is that of the pod too.
    network: Option<OwnedFd>,
    ipc: OwnedFd,
    uts: OwnedFd,
}

/// What a container's first process joins in place of making its own. Each descriptor is a namespace or a
/// process in it (setns(2)).
#[derive(Default)]
pub struct Joined {
    pub network: Network,
    pub ipc: Option<OwnedFd>,
    pub uts: Option<OwnedFd>,
    pub pid: Option<OwnedFd>,
    pub shm: Shm,
}

/// The network namespace of a container.
#[derive(Default)]
pub enum Network {
    #[default]
    Own,
    /// The one that the agent is in: the sandbox's, or the host's.
    Agents,
    Joined(OwnedFd),
}

/// Goes with the IPC namespace.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Shm {
    #[default]
    Own,
    Pods,
    /// That of the process behind `ipc`.
    Others,
}

impl Pod {
    /// Makes the namespaces in a child that is gone again when this returns; `network` among them. `names`: the
    /// host's and the domain's.
    pub fn create(names: (&str, &str), network: bool) -> Result<Self, StepError> {
        let (control, own_control) = control::pair().step("make a control socket")?;
        let made = libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        let made = if network { made | libc::CLONE_NEWNET } else { made };
        // SAFETY: the agent has a single thread.
        match unsafe { sys::clone_into(made, None) }.step("fork into the pod's namespaces")? {
            Fork::Child => furnish(&own_control, names, network),
            Fork::Parent(child) => {
                drop(own_control);
                let pod = wait_until_furnished(&control).and_then(|()| Self::open(child, network));
                // The child waits for that.
                drop(control);
                let _ = waitpid(Some(child), WaitOptions::empty());
                let pod = pod?;
                share_memory()?;
                Ok(pod)
            }
        }
    }

    fn open(child: Pid, network: bool) -> Result<Self, StepError> {
        let open = |name: &str| {
            let path = format!("/proc/{}/ns/{name}", child.as_raw_nonzero());
            rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .step(format_args!("open {path}"))
        };
        Ok(Pod { network: network.then(|| open("net")).transpose()?, ipc: open("ipc")?, uts: open("uts")? })
    }

    /// What a container of the pod joins, unless it asks for something else.
    pub fn joined(&self) -> Result<Joined, StepError> {
        let copy =
            |fd: &OwnedFd| fd.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let what = "copy the descriptor of a pod's namespace";
        let copied = |fd| copy(fd).map(Some).step(what);
        Ok(Joined {
            network: match &self.network {
                Some(network) => Network::Joined(copy(network).step(what)?),
                None => Network::Agents,
            },
            ipc: copied(&self.ipc)?,
            uts: copied(&self.uts)?,
            pid: None,
            shm: Shm::Pods,
        })
    }
}

fn furnish(control: &OwnedFd, (hostname, domainname): (&str, &str), network: bool) -> ! {
    sys::close_all_but(&mut [control.as_raw_fd()]);
    let furnished = set_parent_process_death_signal(Some(Signal::KILL))
        .step("set the parent death signal")
        .and_then(|()| if network { namespaces::loopback_up() } else { Ok(()) })
        .and_then(|()| namespaces::set_names(hostname, domainname));
    if network {
        namespaces::open_to_users();
    }
    match furnished {
        Ok(()) => {
            let _ = control::send_ready(control, None);
        }
        Err(error) => control::send_failure(control, error),
    }
    control::wait_for_start(control);
    sys::exit_now(0)
}

fn wait_until_furnished(control: &OwnedFd) -> Result<(), StepError> {
    loop {
        match control::receive(control) {
            Some(News::Ready(_)) => return Ok(()),
            Some(News::Failed(CallError { kind, message })) => return Err(StepError::new(kind, message)),
            Some(News::Closed) => return Err(StepError::setup("The pod's set-up ended before it was done")),
            None => match poll(&mut [PollFd::new(control, PollFlags::IN)], None) {
                Ok(_) | Err(Errno::INTR) => (),
                Err(cause) => return Err(cause).step("wait for the pod's set-up"),
            },
        }
    }
}

fn share_memory() -> Result<(), StepError> {
    match rustix::fs::mkdir(SHM, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => (),
        Err(cause) => return Err(cause).step(format_args!("make {SHM}")),
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(c"shm", SHM, c"tmpfs", flags, SHM_OPTIONS).step("mount the pod's shared memory")
}

impl Network {
    fn joined(&self) -> Option<&OwnedFd> {
        match self {
            Network::Joined(namespace) => Some(namespace),
            Network::Own | Network::Agents => None,
        }
    }
}

impl Joined {
    /// The namespaces left to be made.
    pub fn own_namespaces(&self) -> libc::c_int {
        let joined = [
            (!matches!(self.network, Network::Own), libc::CLONE_NEWNET),
            (self.ipc.is_some(), libc::CLONE_NEWIPC),
            (self.uts.is_some(), libc::CLONE_NEWUTS),
            (self.pid.is_some(), libc::CLONE_NEWPID),
        ];
        joined.iter().filter(|(joined, _)| *joined).fold(NAMESPACES, |left, (_, flag)| left & !flag)
    }

    pub fn pid_namespace(&self) -> PidNamespace<'_> {
        self.pid.as_ref().map_or(PidNamespace::Own, PidNamespace::Of)
    }

    /// The descriptors it holds, for a child that closes all others.
    pub fn raw(&self) -> impl Iterator<Item = RawFd> {
        [self.network.joined(), self.ipc.as_ref(), self.uts.as_ref()]
            .into_iter()
            .flatten()
            .map(AsRawFd::as_raw_fd)
    }

    /// Enters them, but for the PID namespace, which one is born in. Before the root is mounted. Returns the
    /// shared /dev/shm, detached.
    pub fn enter(&self) -> Result<Option<OwnedFd>, StepError> {
        let joined = [
            (self.network.joined(), Namespaces::NETWORK),
            (self.ipc.as_ref(), Namespaces::INTER_PROCESS_COMMUNICATION),
            (self.uts.as_ref(), Namespaces::HOST_NAME_AND_NIS_DOMAIN_NAME),
        ];
        for (namespace, kind) in joined {
            if let Some(namespace) = namespace {
                move_into_thread_name_spaces(namespace.as_fd(), kind).step("join a namespace")?;
            }
        }
        match (self.shm, &self.ipc) {
            (Shm::Pods, _) => copy_shm().map(Some),
            (Shm::Others, Some(other)) => fetch_shm(other).map(Some),
            (Shm::Own | Shm::Others, _) => Ok(None),
        }
    }
}

/// A mount can be copied by those of its mount namespace only.
fn fetch_shm(other: &OwnedFd) -> Result<OwnedFd, StepError> {
    namespaces::visit(other, copy_shm)?
}

/// What is at /dev/shm may be of the other container's making: links lead nowhere, and it has to be a mount.
fn copy_shm() -> Result<OwnedFd, StepError> {
    let what = "copy the mount of the shared memory";
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let folder = openat2(CWD, SHM, flags, Mode::empty(), no_links).step(what)?;
    let kind = rustix::fs::fstatfs(&folder).step(what)?.f_type;
    if kind != libc::TMPFS_MAGIC {
        let why = "Failed to share /dev/shm: in the other container it is no tmpfs";
        return Err(StepError::new(ErrorKind::State, why));
    }
    let clone =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(folder, c"", clone).step(what)
}
