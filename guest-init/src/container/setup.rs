//! The set-up of a container by its first process: everything that needs the agent's place and powers.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::OFlags;

use super::cgroup::Cgroup;
use super::dev::Terminal;
use super::launch::{Launch, Prepared, Streams};
use super::mounts::ShmSource;
use super::outside::Outside;
use super::requested::{self, Ready, Sources};
use super::shared::{Joined, Network};
use super::spec::ValidSpec;
use super::{Surroundings, dev, mounts, namespaces, overlaid, paths, rootfs, user};
use crate::error::StepError;
use crate::sys;

/// The namespaces the first process is made in. The cgroup namespace comes later: its root is the cgroup
/// of the process that makes it.
pub const NAMESPACES: libc::c_int =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNET;

/// What the process needs of what the agent prepared.
pub struct FirstProcess<'a> {
    pub spec: &'a ValidSpec,
    pub cgroup: &'a Cgroup,
    pub surroundings: &'a Surroundings,
    pub joined: &'a Joined,
    pub launch: Launch<'a>,
}

impl FirstProcess<'_> {
    /// Runs in the new process; ends in the command or in its own exit.
    pub fn run(&self) -> ! {
        self.launch.run(|| self.prepare())
    }

    fn prepare(&self) -> Result<Prepared, StepError> {
        let mounts = &self.surroundings.mounts;
        let kept = self.cgroup.raw().chain(self.joined.raw()).chain(mounts.iter().map(AsRawFd::as_raw_fd));
        self.launch.cut_loose(kept)?;
        self.cgroup.join_v1()?;
        let late_joins = self.cgroup.late_joins(&self.surroundings.layout, &self.spec.cgroup);
        namespaces::enter_cgroup_namespace()?;
        namespaces::join_session_keyring()?;
        let shm = self.joined.enter()?;
        if matches!(self.joined.network, Network::Own) {
            namespaces::loopback_up()?;
            namespaces::open_to_users();
        }
        if self.joined.uts.is_none() {
            namespaces::set_names(&self.spec.hostname, &self.spec.domainname)?;
        }
        // Each sees what those that follow put things in front of.
        let outside = Outside::prepare()?;
        let sources = Sources::wait_for(&self.spec.mounts, mounts.as_ref())?;
        let root = rootfs::mount(&self.spec.root.source)?;
        let files = overlaid::prepare(&self.spec.files)?;
        let mut requested = requested::prepare(&self.spec.mounts, sources)?;
        // Whoever shares the container's PID namespace must not find it here.
        mounts.iter().for_each(sys::close_early);
        rootfs::enter(&root)?;
        drop(root);
        requested::copy_image(&mut requested)?;
        let instead_of_dev = requested::instead_of_dev(&mut requested);
        self.furnish(instead_of_dev, shm, outside)?;
        // What the user mounts may be in front of the terminals.
        let (streams, controller) = self.open_streams()?;
        requested.into_iter().try_for_each(Ready::mount)?;
        overlaid::bind(files)?;
        self.finish_root()?;
        let identity = user::look_up(self.spec.process.user.as_bytes(), &paths::open_proc()?)?;
        Ok(Prepared { identity, streams, controller, late_joins })
    }

    /// What is mounted in the root, from here seen at "/".
    fn furnish(
        &self,
        dev: Option<Ready<'_>>,
        shm: Option<OwnedFd>,
        outside: Option<Outside>,
    ) -> Result<(), StepError> {
        let spec = self.spec;
        let (proc, sys, nodes) = match outside {
            Some(Outside { proc, sys, nodes }) => (Some(proc), Some(sys), Some(nodes)),
            None => (None, None, None),
        };
        mounts::proc(proc)?;
        // A folder in place of /dev has all that belongs below it, or has not: as docker takes it.
        let is_whole = matches!(dev, Some(Ready::Bind(_)));
        dev.map_or_else(mounts::dev, Ready::mount)?;
        if !is_whole {
            mounts::below_dev(shm.map_or(ShmSource::New(spec.resources.shm_bytes), ShmSource::Shared))?;
            dev::populate(nodes)?;
        }
        mounts::sys(&self.cgroup.view(), sys)
    }

    fn open_streams(&self) -> Result<(Streams, Option<OwnedFd>), StepError> {
        match self.spec.process.terminal {
            Some(size) => {
                let Terminal { controller, terminal } = dev::open_console(size)?;
                Ok((Streams::Terminal(terminal), Some(controller)))
            }
            None => Ok((Streams::Apart { null: dev::open_null(OFlags::RDWR | OFlags::NOCTTY)? }, None)),
        }
    }

    fn finish_root(&self) -> Result<(), StepError> {
        overlaid::enter_working_directory(&self.spec.process.cwd)?;
        mounts::mask(&self.spec.masked_paths)?;
        mounts::make_readonly(&self.spec.readonly_paths)?;
        if self.spec.root.readonly { mounts::make_root_readonly() } else { Ok(()) }
    }
}
