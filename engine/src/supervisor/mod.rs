//! `hull supervise`: the process that a sandbox lives by, one for each.
//!
//! It holds the sandbox's lock, starts the VMM or the host's agent, reads the containers' output into
//! their logs and to their clients, records what happens to them, starts them again as their policy says,
//! and serves the control socket. When its last container has ended, so has it; a pod's stays until it is
//! told to end.
//!
//! ```text
//!  hull run ──control.sock──► server ──► task, one a container ──► agent (VM or host)
//!                                          │  carrier, one an output: log, clients
//!                                          ▼
//!                                        keeper: processes, database, folders
//! ```
//!
//! Every thread but the keeper, and those that attach volumes (`task/volumes`), has given its privileges up, since it
//! reads what may come from a guest.

mod caller;
pub mod client;
pub mod control;
mod exec;
mod fan;
mod guard;
mod health;
mod input;
mod keeper;
pub mod launch;
mod link;
mod output;
mod placement;
mod privileges;
mod record;
mod server;
mod shared;
mod slot;
mod task;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::container::config::Config;
use crate::rootless;
use crate::sandbox::{self, FIRST_FD, LaunchError, Parts, RootPlan};
pub use caller::chain;
pub use privileges::give_up;
use shared::Shared;

/// Word of the command line; nobody types it.
pub const COMMAND: &str = "supervise";

/// Stack of a thread: a few buffers and the frames around them.
const STACK: usize = 192 * 1024;

/// What a supervisor is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The store's two folders.
    pub root: PathBuf,
    pub run: PathBuf,
    pub sandbox: sandbox::Plan,
    /// The only container; none in a pod, where they are added.
    pub container: Option<ContainerPlan>,
}

/// A container to supervise.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerPlan {
    pub id: String,
    pub config: Config,
    pub root: RootPlan,
    /// Made only to be started: with --rm it goes if that is called off. What was there before stays.
    pub fresh: bool,
}

impl ContainerPlan {
    fn goes_if_never_started(&self) -> bool {
        self.fresh && self.config.remove
    }
}

/// Descriptors that a supervisor is handed, in this order.
pub struct Handed<T> {
    pub plan: T,
    /// The sandbox's folder, locked: the lock belongs to the open file and came along (flock(2)).
    pub lock: T,
    /// The control socket, listening.
    pub listener: T,
    /// A connection of whoever started it, which has not called yet.
    pub starter: T,
}

impl<T> Handed<T> {
    pub fn into_array(self) -> [T; 4] {
        [self.plan, self.lock, self.listener, self.starter]
    }
}

/// Runs the supervisor. Its stderr is `supervisor.log` in the sandbox's folder.
pub fn main(mut args: impl Iterator<Item = OsString>) -> Result<(), String> {
    let id = args.next().unwrap_or_default();
    let handed = take_handed().map_err(|error| {
        format!("{COMMAND} is for hull itself, which hands descriptors over ({error}); see hull run --help")
    })?;
    // One arena: the threads here are many and allocate little.
    // SAFETY: mallopt(3) takes two numbers; no other thread exists yet.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    let plan = read_plan(handed.plan).map_err(|error| format!("Failed to read the plan: {error}"))?;
    if id != *plan.sandbox.id {
        return Err(format!("The plan is for {} and not for {}", plan.sandbox.id, id.display()));
    }
    placement::leave_v1_groups();
    rootless::own_mounts().map_err(|error| chain(&error))?;
    supervise(plan, handed.lock, handed.listener.into(), handed.starter.into());
    Ok(())
}

fn take_handed() -> io::Result<Handed<OwnedFd>> {
    let take = |number: RawFd| {
        let fd = FIRST_FD + number;
        // SAFETY: fcntl(2) with F_GETFD only asks whether the number names an open descriptor.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is open, was handed to this process at its start, and is taken here only, once.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    let handed = Handed { plan: take(0)?, lock: take(1)?, listener: take(2)?, starter: take(3)? };
    // Where there is a user namespace, what keeps it held comes behind them. It is left open to the end, and
    // is nobody's else.
    // SAFETY: F_SETFD changes a flag of an open descriptor, and fails for a number that is none.
    unsafe { libc::fcntl(FIRST_FD + 4, libc::F_SETFD, libc::FD_CLOEXEC) };
    Ok(handed)
}

fn read_plan(fd: OwnedFd) -> io::Result<Plan> {
    let mut file = File::from(fd);
    file.rewind()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn supervise(plan: Plan, lock: OwnedFd, listener: UnixListener, starter: UnixStream) {
    let Plan { root, run, mut sandbox, container } = plan;
    sandbox.root = container.as_ref().map(|container| container.root.clone());
    let kept = record::Kept::new(root, run);
    let parts = Parts::open(sandbox.mode, sandbox.kernel.as_deref(), sandbox.shares);
    // The first thing, before there are threads to do it for: the rest overlaps with its start.
    let (parts, first) = match parts {
        Ok(parts) => {
            let first = kept.launch(&sandbox, &parts);
            (Some(parts), first)
        }
        Err(error) => (None, Err(LaunchError::Died(caller::chain(&error)))),
    };
    let (keeper, jobs) = keeper::keeper();
    let shared = Arc::new(Shared::new(sandbox, parts, first, keeper, lock));
    if let Some(container) = container {
        // Nothing ends it yet; without a thread the caller sees its connection close.
        let _ = shared.add(container);
    }
    server::start(&shared, listener, starter);
    jobs.serve(&kept);
}
