//! A container's cgroup: its limits, its device rules, and the handle by which all its processes are
//! killed. On v1 only in the hierarchies that are needed for that.

mod cpuset;
mod device_filter;
mod freezer;
mod group;
mod hierarchy;
mod limits;
mod usage;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub use self::cpuset::check as check_cpus;
pub use self::freezer::Frozen;
use self::group::{Group, collect_processes, pidfd};
pub use self::hierarchy::Layout;
pub use self::limits::enable_all;
use crate::error::{Step, StepError};
use crate::protocol::Resources;

/// The v1 hierarchies that each container has a cgroup in from the beginning.
const ALWAYS: [&str; 1] = ["devices"];
/// Those in which it is measured. They are made while its first process mounts things, and joined when it
/// starts. What only limits is joined when a limit comes.
const MEASURED: [&str; 2] = ["memory", "blkio"];
/// What v2 switches on for each container: there it costs no hierarchy.
const ALWAYS_ON_V2: [&str; 4] = ["memory", "cpu", "pids", "blkio"];
/// What a v2 hierarchy does by itself, on hybrid hosts, too.
const WITHOUT_V2: [&str; 2] = ["freezer", "cpuacct"];
/// Times the processes are looked through for new ones.
const MAX_PASSES: u32 = 1000;
/// Cgroups below the container's that are looked into.
const MAX_DEPTH: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Version {
    V2,
    V1 { controllers: Vec<String> },
}

pub struct Cgroup {
    groups: Vec<Group>,
}

/// What the container sees at /sys/fs/cgroup.
pub enum View {
    Unified,
    PerController(Vec<ContainerView>),
}

/// One hierarchy in a [`View::PerController`].
pub struct ContainerView {
    pub kind: &'static str,
    pub folder: String,
    pub controllers: Vec<String>,
}

/// Whether a cgroup is gone.
pub enum Removal {
    Gone,
    /// A process is still in it. `cgroup.events` tells of its end (poll(2) for POLLPRI), on v2.
    Busy(OwnedFd),
    /// This process is still in it (a pidfd), on v1.
    Holds(OwnedFd),
    /// Something is still in it that cannot be told.
    Stuck,
}

impl Cgroup {
    /// Makes the cgroup at `path` below each hierarchy's root, with its limits set.
    pub fn create(layout: &Layout, path: &str, resources: &Resources) -> Result<Self, StepError> {
        let mut cgroup = Cgroup { groups: Vec::with_capacity(4) };
        let made = cgroup.make(layout, path, resources);
        match made {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                cgroup.remove();
                Err(error)
            }
        }
    }

    fn make(&mut self, layout: &Layout, path: &str, resources: &Resources) -> Result<(), StepError> {
        if let Some(mount) = &layout.unified {
            self.groups.push(Group::make(Version::V2, mount, path, true)?);
        }
        let limited = limits::controllers(resources);
        let without_v2: &[&str] = if layout.unified.is_none() { &WITHOUT_V2 } else { &[] };
        let wanted = || ALWAYS.iter().chain(without_v2).chain(&limited).copied();
        for controller in wanted() {
            // Each that is shown is a mount more at the start of a container.
            self.make_v1(layout, path, controller, controller == "devices" || limited.contains(&controller))?;
        }
        self.enable_v2(layout, path, &limited)?;
        limits::apply(self, resources)
    }

    /// Adds the groups by which the container is measured on v1. What cannot be made is not measured.
    pub fn make_measured(&mut self, layout: &Layout, path: &str) {
        for controller in MEASURED {
            let _ = self.make_v1(layout, path, controller, false);
        }
    }

    /// What the first process joins at its start. Before it enters its root, from which these folders
    /// cannot be seen, and while [`Cgroup::make_measured`] may be at work.
    pub fn late_joins(&self, layout: &Layout, path: &str) -> Vec<LateJoin> {
        let hierarchies = MEASURED.iter().filter(|controller| self.v1(controller).is_none());
        let late = hierarchies.filter_map(|controller| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let mount = layout.with(controller)?.mount.as_str();
            let hierarchy = rustix::fs::open(mount, flags, Mode::empty()).ok()?;
            Some(LateJoin { hierarchy, file: format!("{path}/tasks") })
        });
        late.collect()
    }

    /// The group in the v1 hierarchy that carries `controller`, if there is one. True if it is new.
    fn make_v1(
        &mut self,
        layout: &Layout,
        path: &str,
        controller: &str,
        shown: bool,
    ) -> Result<bool, StepError> {
        let Some(hierarchy) = layout.with(controller).filter(|_| self.v1(controller).is_none()) else {
            return Ok(false);
        };
        let version = Version::V1 { controllers: hierarchy.controllers.clone() };
        self.groups.push(Group::make(version, &hierarchy.mount, path, shown)?);
        if hierarchy.controllers.iter().any(|has| has == "cpuset") {
            cpuset::inherit(&hierarchy.mount, path)?;
        }
        Ok(true)
    }

    fn enable_v2(&self, layout: &Layout, path: &str, limited: &[&'static str]) -> Result<(), StepError> {
        let wanted = ALWAYS_ON_V2.iter().chain(limited).copied();
        let on_v2: Vec<&str> = wanted.filter(|controller| layout.with(controller).is_none()).collect();
        limits::enable(self, layout, path, &on_v2, limited)
    }

    /// Makes ready what `resources` need and its creation did not. Before [`Cgroup::update`].
    pub fn extend(&mut self, layout: &Layout, path: &str, resources: &Resources) -> Result<(), StepError> {
        let limited = limits::controllers(resources);
        for controller in &limited {
            if self.make_v1(layout, path, controller, false)?
                && let Some(group) = self.groups.last_mut()
            {
                group.is_late = true;
            }
        }
        self.enable_v2(layout, path, &limited)
    }

    /// Sets the limits named. It may wait for memory to be given up.
    pub fn update(&self, resources: &Resources) -> Result<(), StepError> {
        let limited = limits::controllers(resources);
        for group in self.groups.iter().filter(|group| group.is_late) {
            if limited.iter().any(|controller| group.version.carries(controller)) {
                self.move_all_to(group)?;
            }
        }
        limits::apply(self, resources)
    }

    /// Until no process is found that is not there yet: one that moves has its children there.
    fn move_all_to(&self, group: &Group) -> Result<(), StepError> {
        let mut moved = std::collections::BTreeSet::new();
        for _ in 0..MAX_PASSES {
            let found = self.processes(usize::MAX);
            let fresh: Vec<u32> = found.into_iter().filter(|&pid| moved.insert(pid)).collect();
            if fresh.is_empty() {
                return Ok(());
            }
            for pid in fresh {
                match group.write("cgroup.procs", pid.to_string().as_bytes()) {
                    Ok(()) | Err(Errno::SRCH) => (),
                    Err(cause) => return Err(cause).step(format_args!("move {pid} to {}", group.path)),
                }
            }
        }
        Err(StepError::setup(format!("Failed to move all processes to {}: more and more come", group.path)))
    }

    /// Whether there is one at all.
    pub fn is_none(&self) -> bool {
        self.groups.is_empty()
    }

    /// For a clone(2) straight into it.
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.v2().map(|group| group.folder.as_fd())
    }

    /// The descriptors it holds, for a child that closes all others.
    pub fn raw(&self) -> impl Iterator<Item = RawFd> {
        self.groups.iter().map(|group| group.folder.as_raw_fd())
    }

    /// Moves the calling process, which must have one thread, into the v1 hierarchies. A thread that
    /// moves itself (`tasks`, 0) does not wait for an RCU grace period as `cgroup.procs` does.
    pub fn join_v1(&self) -> Result<(), StepError> {
        for group in self.groups.iter().filter(|group| group.version != Version::V2) {
            group.write("tasks", b"0").step(format_args!("join the cgroup {}", group.path))?;
        }
        Ok(())
    }

    /// From here on the container's processes can use docker's default devices only, whatever nodes
    /// they make. Not before the root is mounted: that opens block devices.
    pub fn restrict_devices(&self) -> Result<(), StepError> {
        if crate::sys::in_user_namespace() {
            // It can make no nodes, and those in what it mounts open nothing: it has what it was given.
            return Ok(());
        }
        if let Some(group) = self.v1("devices") {
            return device_filter::write_rules(group);
        }
        match self.v2() {
            Some(group) => device_filter::attach_program(&group.folder, &group.path),
            None => Err(StepError::setup(
                "Failed to restrict device access: neither the devices cgroup nor cgroup v2 is mounted",
            )),
        }
    }

    pub fn view(&self) -> View {
        if self.groups.is_empty() {
            return View::PerController(Vec::new());
        }
        if self.groups.iter().all(|group| group.version == Version::V2) {
            return View::Unified;
        }
        let hierarchies = self.groups.iter().filter(|group| group.shown).map(|group| match &group.version {
            Version::V2 => {
                ContainerView { kind: "cgroup2", folder: "unified".into(), controllers: Vec::new() }
            }
            Version::V1 { controllers } => ContainerView {
                kind: "cgroup",
                folder: controllers.join(","),
                controllers: controllers.clone(),
            },
        });
        View::PerController(hierarchies.collect())
    }

    /// Whether the kernel killed a process in it for its memory limit.
    pub fn oom_killed(&self) -> bool {
        let counter = match (self.v1("memory"), self.v2()) {
            (Some(group), _) => group.read("memory.oom_control"),
            (None, Some(group)) => group.read("memory.events"),
            (None, None) => return false,
        };
        let text = counter.unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
    }

    /// Kills every process in it. Errors do not matter: what cannot be killed shows in `remove`.
    pub fn kill(&self) {
        if let Some(group) = self.v2() {
            if group.write("cgroup.kill", b"1").is_err() {
                group.kill_each();
            }
        } else if let Some(group) = self.v1("freezer") {
            // Frozen, none forks away while the list is read.
            let _ = group.write("freezer.state", b"FROZEN");
            group.kill_each();
            let _ = group.write("freezer.state", b"THAWED");
        }
    }

    /// Its processes, those in cgroups below it among them, at most `limit`.
    pub fn processes(&self, limit: usize) -> Vec<u32> {
        let mut pids = Vec::new();
        if let Some(group) = self.v2().or(self.groups.first()) {
            collect_processes(std::path::Path::new(&group.path), limit, MAX_DEPTH, &mut pids);
        }
        pids
    }

    /// Removes what is empty of it; to be called again after the event it may name.
    pub fn remove(&mut self) -> Removal {
        self.groups.retain(|group| !group.remove());
        if let Some(group) = self.v2() {
            return group.events().map_or(Removal::Stuck, Removal::Busy);
        }
        if let Some(process) = self.processes(1).into_iter().find_map(pidfd) {
            return Removal::Holds(process);
        }
        // It may have ended in between.
        self.groups.retain(|group| !group.remove());
        if self.groups.is_empty() { Removal::Gone } else { Removal::Stuck }
    }

    fn v2(&self) -> Option<&Group> {
        self.groups.iter().find(|group| group.version == Version::V2)
    }

    fn v1(&self, controller: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.version.carries(controller))
    }
}

/// A v1 cgroup that is made while the process that will join it sets itself up.
pub struct LateJoin {
    hierarchy: OwnedFd,
    file: String,
}

impl LateJoin {
    pub fn join(&self) {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let tasks = rustix::fs::openat(&self.hierarchy, self.file.as_str(), flags, Mode::empty());
        // If it could not be made, it is not measured.
        let _ = tasks.and_then(|tasks| rustix::io::write(tasks, b"0"));
    }
}

impl Version {
    /// v1 only: what v2 has shows in its files.
    fn carries(&self, controller: &str) -> bool {
        match self {
            Version::V1 { controllers } => controllers.iter().any(|has| has == controller),
            Version::V2 => false,
        }
    }
}

#[cfg(test)]
mod tests;
