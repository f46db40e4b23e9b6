//! A container, from the set-up to its end, and the processes that enter it later.
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
mod command;
pub mod control;
pub mod dev;
pub mod exec;
pub mod init;
mod launch;
mod mount_attr;
mod mounts;
pub mod namespaces;
pub mod network;
mod outside;
mod overlaid;
mod paths;
mod requested;
pub mod rlimits;
mod rootfs;
mod seccomp;
mod setup;
pub mod shared;
pub mod spec;
mod targets;
pub mod task;
pub mod top;
mod user;

pub use self::rootfs::view::open as root_view;

use std::cell::Cell;
use std::os::fd::OwnedFd;

use rustix::process::Rlimit;

use self::cgroup::{Cgroup, Layout};
use self::launch::Launch;
use self::setup::FirstProcess;
use self::shared::Joined;
use self::spec::ValidSpec;
use self::task::{Channels, Container, Forked, Freeze, Role, Task};
use crate::agent::Key;
use crate::error::{Step, StepError};
use crate::sys::{self, Fork};

/// What containers are made with, the same for each.
pub struct Surroundings {
    pub layout: Layout,
    /// The limit of open descriptors that a container inherits.
    pub descriptors: Rlimit,
    /// Host: the mount namespace that the agent was started in, where the paths of binds are looked up. What has
    /// been mounted there since shows, and mounts can be shared with it.
    pub mounts: Option<OwnedFd>,
    /// Guest: what the host shares is mounted.
    shared: Cell<bool>,
}

impl Surroundings {
    /// Looks at this machine and fits the agent's own limits to its work.
    pub fn discover(mounts: Option<OwnedFd>) -> Result<Self, StepError> {
        Ok(Surroundings {
            layout: Layout::discover()?,
            descriptors: rlimits::raise_descriptors(),
            mounts,
            shared: Cell::new(false),
        })
    }

    /// Has what the host shares mounted for a container that gets some of it.
    fn share(&self, spec: &ValidSpec) -> Result<(), StepError> {
        if !self.shared.get() && requested::wants_shares(&spec.mounts) {
            requested::mount_shared()?;
            self.shared.set(true);
        }
        Ok(())
    }
}

/// Makes the cgroup and forks the first process, which sets everything else up.
pub fn create(
    spec: ValidSpec,
    joined: &Joined,
    surroundings: &Surroundings,
    session: Key,
) -> Result<Task, StepError> {
    if let Some(list) = &spec.resources.cpuset_cpus {
        cgroup::check_cpus(list)?;
    }
    surroundings.share(&spec)?;
    let mut cgroup = Cgroup::create(&surroundings.layout, &spec.cgroup, &spec.resources)?;
    if cgroup.is_none() && joined.pid.is_some() {
        // Nothing would tell its processes from the other's when it ends.
        return Err(StepError::setup("Sharing a PID namespace needs cgroups, and this user was given none"));
    }
    match fork_first_process(&spec, joined, &cgroup, surroundings) {
        Ok(forked) => {
            cgroup.make_measured(&surroundings.layout, &spec.cgroup);
            let (id, wants_stdin) = (spec.id.clone(), spec.process.stdin);
            let role = Role::Container(Box::new(Container { spec, freeze: Freeze::Running }));
            let mut task = Task::new(id, role, forked, wants_stdin, session);
            task.cgroup = Some(cgroup);
            Ok(task)
        }
        Err(error) => {
            cgroup.remove();
            Err(error)
        }
    }
}

fn fork_first_process(
    spec: &ValidSpec,
    joined: &Joined,
    cgroup: &Cgroup,
    surroundings: &Surroundings,
) -> Result<Forked, StepError> {
    let channels = Channels::open(&spec.process)?;
    // SAFETY: the agent has a single thread.
    let fork = unsafe { sys::clone_in(joined.pid_namespace(), joined.own_namespaces(), cgroup.unified()) };
    match fork.step("fork into new namespaces")? {
        Fork::Parent(process) => Ok(Forked { process, control: channels.control, ends: channels.ends }),
        Fork::Child => {
            let launch =
                Launch { process: &spec.process, channels: &channels, descriptors: surroundings.descriptors };
            FirstProcess { spec, cgroup, surroundings, joined, launch }.run()
        }
    }
}
