//! Sandboxes: where containers run, one virtual machine or one set of host namespaces.
//!
//! A sandbox lives as long as its supervisor, today the `hull run` in the foreground: it holds the
//! lock in the sandbox's folder, and the VMM or host agent ends when its socket to it closes.

pub mod agent;
pub mod cgroup;
mod death;
pub mod disk;
pub mod host;
mod initramfs;
pub mod lock;
pub mod mode;
pub mod probe;
pub mod remove;
pub mod slots;
mod socket;
mod spawn;
pub mod sweep;
pub mod vm;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hull_guest::protocol::{Request, Resources, RootSource, write_frame};
use hull_vmm::control::Command;

use crate::image::Root;
use crate::paths;
use agent::{Agent, AgentError};
use cgroup::SandboxCgroup;
use death::LastWords;
use mode::Isolation;
use spawn::Child;

/// What a VMM or an agent may take to end once its socket has closed.
const END_LIMIT: Duration = Duration::from_secs(10);

/// What a sandbox is made of.
#[derive(Debug)]
pub struct Plan<'a> {
    pub id: &'a str,
    /// The sandbox's folder in the store, which exists and is locked.
    pub dir: &'a Path,
    /// Its folder of sockets, which exists.
    pub run_dir: &'a Path,
    /// Whom the VMM becomes.
    pub uid: Option<u32>,
    pub root: Root,
    /// Whether the writable layer outlives the sandbox.
    pub keep_disk: bool,
    pub resources: &'a Resources,
    pub kernel: Option<&'a PathBuf>,
    /// Whether the guest's console is written to `boot.log` in the sandbox's folder.
    pub boot_log: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error(transparent)]
    Part(#[from] paths::NotFound),
    #[error("Failed to {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("Failed to {what}")]
    System { what: &'static str, source: io::Error },
    #[error("The agent did not come up")]
    Agent(#[from] AgentError),
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
    life: UnixStream,
    last_words: LastWords,
    cgroup: Option<SandboxCgroup>,
    /// Where its first container's root comes from.
    source: RootSource,
}

impl Sandbox {
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    pub fn root_source(&self) -> RootSource {
        self.source.clone()
    }

    /// Where on the host a container's cgroup goes; a guest's agent chooses by itself.
    pub fn container_cgroup(&self, container: &str) -> Option<String> {
        match self.mode {
            Isolation::Vm => None,
            Isolation::Namespace => Some(cgroup::container(&self.id, container)),
        }
    }

    /// What a sandbox that ended by itself had to say.
    pub fn cause_of_death(&mut self) -> String {
        self.last_words.read(self.mode, &mut self.life, &self.child)
    }

    /// Ends the sandbox. `flush`: the writable layer outlives it, so it is written out first.
    pub fn end(mut self, flush: bool) {
        match self.mode {
            Isolation::Vm => {
                if flush {
                    // A guest that cannot even do that loses what a power cut would lose.
                    let _ = self.agent.done(&Request::Shutdown);
                } else {
                    let _ = write_frame(&mut self.life, &Command::Stop);
                }
            }
            // An agent that was killed has left its containers and their cgroups behind.
            Isolation::Namespace => {
                if self.agent.done_within(&Request::Shutdown, END_LIMIT).is_err() {
                    cgroup::kill(&self.id);
                }
            }
        }
        drop(self.life);
        self.child.end(END_LIMIT);
        drop(self.cgroup);
    }
}
