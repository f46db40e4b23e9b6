//! Sandboxes: where containers run, one virtual machine or one set of host namespaces.
//!
//! A sandbox lives as long as its supervisor ([`crate::supervisor`]): that holds the lock on the sandbox's
//! folder, and the VMM or host agent ends when its socket to it closes.

pub mod agent;
pub mod cgroup;
mod death;
pub mod disk;
pub mod host;
mod initramfs;
pub mod lock;
pub mod mode;
mod parts;
pub mod probe;
pub mod remove;
mod roots;
mod share;
pub mod slots;
pub(crate) mod socket;
mod spawn;
pub mod sweep;
pub mod tree;
pub mod vm;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hull_guest::protocol::{Disk, NetworkConfig, PodConfig, Request, Resources, RootSource, write_frame};
use hull_vmm::config::NetLimits;
use hull_vmm::control::Command;
use hull_vmm::lifecycle::ExitCause;
use serde::{Deserialize, Serialize};

use crate::network::{NetworkError, model::Networking};
use crate::supervisor::chain;
use crate::volume::attach::{AttachError, Machine};
use agent::{Agent, AgentError};
use cgroup::{HostMemory, SandboxCgroup};
pub(crate) use death::LastWords;
use mode::Isolation;
pub use parts::Parts;
pub use roots::RootPlan;
use roots::Roots;
use share::FileServer;
pub use share::ShareError;
pub use spawn::{Child, FIRST_FD, Spawn};

/// What a VMM or an agent may take to end once its socket has closed.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A process whose sockets have closed is on its way out; one that is not by then does not answer.
const DYING: Duration = Duration::from_secs(1);

/// What a sandbox is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    pub id: String,
    pub mode: Isolation,
    /// The sandbox's folder in the store, which exists and is locked.
    pub dir: PathBuf,
    /// Its folder of sockets, which exists.
    pub run_dir: PathBuf,
    /// Whom the VMM becomes.
    pub uid: Option<u32>,
    /// The root of its only container; none for a pod, whose containers come later.
    pub root: Option<RootPlan>,
    /// What the machine has to have room for.
    pub resources: Resources,
    /// In place of the kernel that hull came with.
    pub kernel: Option<PathBuf>,
    /// Whether the guest's console is written to `boot.log` in the sandbox's folder.
    pub boot_log: bool,
    /// A pod: its containers share what this makes.
    pub pod: Option<PodConfig>,
    #[serde(default)]
    pub network: Networking,
    /// Network devices that a machine is built with.
    #[serde(default)]
    pub nets: u8,
    /// Whether a machine is built with a shared file system.
    #[serde(default)]
    pub shares: bool,
    /// Volumes that a machine has as further disks.
    #[serde(default)]
    pub blocks: Vec<String>,
}

/// A volume that is a disk: locked as long as the file is open.
#[derive(Debug)]
pub struct Block {
    pub volume: String,
    pub file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("Failed to {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("Failed to {what}")]
    System { what: &'static str, source: io::Error },
    #[error("The agent did not come up")]
    Agent(#[from] AgentError),
    #[error("Failed to put the container's disks into the machine")]
    Slot(#[source] slots::SlotError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("Failed to connect the machine to its network")]
    Plug(#[source] slots::SlotError),
    #[error(transparent)]
    Attach(#[from] Box<AttachError>),
    #[error("{0}")]
    Died(String),
}

impl LaunchError {
    fn file(what: &'static str, path: &Path, source: io::Error) -> LaunchError {
        LaunchError::File { what, path: path.to_path_buf(), source }
    }

    fn system(what: &'static str) -> impl FnOnce(io::Error) -> LaunchError {
        move |source| LaunchError::System { what, source }
    }
}

/// A running sandbox. Dropping it closes the socket that it lives by.
#[derive(Debug)]
pub struct Sandbox {
    mode: Isolation,
    id: String,
    agent: Agent,
    child: Child,
    /// Beside a machine that is shown files of the host's.
    files: Option<FileServer>,
    life: Mutex<UnixStream>,
    last_words: Mutex<LastWords>,
    cause: OnceLock<String>,
    cgroup: Mutex<Option<SandboxCgroup>>,
    /// The host's own limit on a machine.
    memory: Mutex<Option<HostMemory>>,
    /// What that is; a host agent's containers have their own.
    host_bytes: Option<u64>,
    roots: Mutex<Roots>,
    /// Volumes that are disks of the machine's.
    blocks: Vec<(String, Disk)>,
    pod: Option<PodConfig>,
    /// The containers' network namespace, where it is the host's matter to make it.
    network: Option<OwnedFd>,
}

impl Sandbox {
    /// Starts the VMM or the agent. It has not said anything yet: that is for [`Sandbox::greet`].
    pub fn launch(plan: &Plan, parts: &Parts, blocks: Vec<Block>) -> Result<Sandbox, LaunchError> {
        match plan.mode {
            Isolation::Vm => vm::launch(plan, parts, blocks),
            Isolation::Namespace => host::launch(plan, parts),
        }
    }

    /// Waits until the agent answers, and tells it what it has to know. Listens to what may be hostile, so
    /// without privileges.
    ///
    /// `network` says what the sandbox is connected to, once that is made; a machine boots meanwhile.
    pub fn greet(
        &self,
        network: impl FnOnce() -> Result<Option<NetworkConfig>, LaunchError>,
    ) -> Result<(), LaunchError> {
        match self.mode {
            Isolation::Vm => vm::greet(self, network),
            Isolation::Namespace => host::greet(self, network),
        }
    }

    /// The containers' network namespace; none of a machine's.
    pub fn network_namespace(&self) -> Option<BorrowedFd<'_>> {
        self.network.as_ref().map(AsFd::as_fd)
    }

    /// Connects a machine's network device to a tap.
    pub fn plug(&self, net: u8, tap: BorrowedFd<'_>, limits: NetLimits) -> Result<(), LaunchError> {
        slots::plug(&held(&self.life), net.into(), tap, limits).map_err(LaunchError::Plug)
    }

    /// Disconnects a machine's network device.
    pub fn unplug(&self, net: u8) -> Result<(), LaunchError> {
        slots::unplug(&held(&self.life), net.into()).map_err(LaunchError::Plug)
    }

    /// The socket it lives by, for who waits on it: others may end the sandbox meanwhile.
    fn life(&self) -> Result<UnixStream, LaunchError> {
        held(&self.life).try_clone().map_err(LaunchError::system("copy a descriptor"))
    }

    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub fn mode(&self) -> Isolation {
        self.mode
    }

    /// Where a container's root comes from: its place in the sandbox, which it keeps.
    pub fn root_source(&self, container: &str, root: &RootPlan) -> Result<RootSource, LaunchError> {
        held(&self.roots).source(container, root, &held(&self.life))
    }

    /// Where on the host a container's cgroup goes; a guest's agent chooses by itself.
    pub fn container_cgroup(&self, container: &str) -> Option<String> {
        match self.mode {
            Isolation::Vm => None,
            Isolation::Namespace => cgroup::container(&self.id, container),
        }
    }

    /// What a machine that has ended, or does not answer, says of it. Ends it if it had not.
    pub fn last_event(&self) -> Option<String> {
        match self.mode {
            Isolation::Vm => {
                let (cause, said) = death::last_event(&mut held(&self.life))?;
                Some(self.with_file_servers_words(&cause, said))
            }
            Isolation::Namespace => None,
        }
    }

    /// A machine knows that its file server has gone, and not why.
    fn with_file_servers_words(&self, cause: &ExitCause, said: String) -> String {
        let files = self.files.as_ref().filter(|_| matches!(cause, ExitCause::FileServerFailed { .. }));
        match files.and_then(|files| files.last_words(self.has_run_out_of_memory())) {
            Some(words) => format!("{said} {words}"),
            None => said,
        }
    }

    fn has_run_out_of_memory(&self) -> bool {
        held(&self.memory).as_ref().is_some_and(HostMemory::has_killed)
    }

    /// Why a process ended that did not say: how the kernel saw it end, and what it left in its stderr. To
    /// be asked before anybody ends it.
    pub fn last_words(&self) -> String {
        let ending = self.child.ending(DYING);
        held(&self.last_words).read(self.mode, ending, self.has_run_out_of_memory())
    }

    /// Why it ended, found out by the first who asks.
    pub fn cause(&self, find: impl FnOnce() -> String) -> String {
        self.cause.get_or_init(find).clone()
    }

    /// Whether its process has ended.
    pub fn has_ended(&self) -> bool {
        self.child.has_ended()
    }

    /// Kills its process, and waits for the end.
    pub fn kill(&self) {
        self.child.kill();
        self.child.reap();
        if let Some(files) = &self.files {
            files.kill();
        }
    }

    /// Takes back what a machine was shown. It may have ended.
    pub fn unshare(&self, name: &str) {
        if let Some(Err(error)) = self.files.as_ref().map(|files| files.remove(name))
            && !self.has_ended()
        {
            eprintln!("Failed to take a share back: {}", chain(&error));
        }
    }

    /// Asks the sandbox to end; [`Sandbox::end`] sees to it. `flush`: the writable layers outlive it, so they
    /// are written out first. False: nobody has heard it. Listens like [`Sandbox::greet`], so without
    /// privileges.
    pub fn ask_to_end(&self, flush: bool) -> bool {
        match (self.mode, flush) {
            // A guest that cannot even do that loses what a power cut would lose.
            (Isolation::Vm, true) => self.agent.done(&Request::Shutdown).is_ok(),
            (Isolation::Vm, false) => write_frame(&mut *held(&self.life), &Command::Stop).is_ok(),
            (Isolation::Namespace, _) => self.agent.done_within(&Request::Shutdown, END_LIMIT).is_ok(),
        }
    }

    /// Ends the sandbox, which was asked to.
    pub fn end(&self, heard: bool) {
        // An agent that was killed has left its containers and their cgroups behind.
        if !heard && self.mode == Isolation::Namespace {
            cgroup::kill(&self.id);
        }
        let _ = held(&self.life).shutdown(std::net::Shutdown::Both);
        self.child.end(END_LIMIT);
        // What the guest has written last is through.
        if let Some(files) = &self.files {
            files.end();
        }
        held(&self.memory).take();
        held(&self.cgroup).take();
    }
}

impl Machine for Sandbox {
    fn share(&self, tree: BorrowedFd<'_>) -> Result<String, ShareError> {
        self.files.as_ref().ok_or(ShareError::None)?.add(tree)
    }

    fn seal(&self, name: &str) -> Result<(), ShareError> {
        self.files.as_ref().ok_or(ShareError::None)?.make_read_only(name)
    }

    fn disk(&self, volume: &str) -> Option<Disk> {
        self.blocks.iter().find(|(name, _)| name == volume).map(|(_, disk)| *disk)
    }
}

/// A panic while it was held has left nothing half done that matters here.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
