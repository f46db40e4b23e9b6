//! Limits on memory, CPU and processes, in the words of v1 and v2.

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{Cgroup, Group, Layout};
use crate::error::{Step, StepError};
use crate::protocol::Resources;

/// The span over which CPU time is rationed: the kernel's default.
const CPU_PERIOD_US: u64 = 100_000;
/// The kernel's least quota (min_cfs_quota_period).
const MIN_CPU_QUOTA_US: u64 = 1_000;

/// The controllers that these limits need.
pub fn controllers(resources: &Resources) -> Vec<&'static str> {
    let wanted = [
        ("memory", resources.memory_bytes.is_some()),
        ("cpu", resources.cpu_millis.is_some()),
        ("pids", resources.pids.is_some()),
    ];
    wanted.into_iter().filter_map(|(controller, wanted)| wanted.then_some(controller)).collect()
}

pub fn unavailable(controller: &str) -> StepError {
    StepError::setup(format!("Failed to limit {controller}: no such cgroup controller here"))
}

/// Makes v2 controllers usable in `cgroup`. Those not `needed` are for measuring: what the host does not
/// have, or keeps back, is left out.
pub fn enable(
    cgroup: &Cgroup,
    layout: &Layout,
    path: &str,
    wanted: &[&str],
    needed: &[&str],
) -> Result<(), StepError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let group = cgroup.v2();
    let usable = group.and_then(|group| group.read("cgroup.controllers").ok()).unwrap_or_default();
    for controller in wanted.iter().map(|&name| v2_name(name)) {
        // What v2 has no controller for is no controller's on v2.
        if usable.split_ascii_whitespace().any(|name| name == controller) || controller == "devices" {
            continue;
        }
        let enabled = match &layout.unified {
            Some(mount) => switch_on(controller, mount, path),
            None => Err(unavailable(controller)),
        };
        if needed.iter().any(|&name| v2_name(name) == controller) {
            enabled?;
        }
    }
    Ok(())
}

fn v2_name(controller: &str) -> &str {
    if controller == "blkio" { "io" } else { controller }
}

/// From the root of the hierarchy down to the parent of `path`.
fn switch_on(controller: &str, mount: &str, path: &str) -> Result<(), StepError> {
    let mut folder = mount.to_owned();
    let switch = format!("+{controller}");
    for name in path.split('/') {
        let file = format!("{folder}/cgroup.subtree_control");
        let opened = rustix::fs::open(&file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let written = opened.and_then(|file| rustix::io::write(file, switch.as_bytes()));
        match written {
            Ok(_) => (),
            Err(Errno::NOENT | Errno::INVAL) => return Err(unavailable(controller)),
            Err(cause) => return Err(cause).step(format_args!("switch {controller} on in {file}")),
        }
        folder = format!("{folder}/{name}");
    }
    Ok(())
}

/// Writes the limits where their controllers are.
pub fn apply(cgroup: &Cgroup, resources: &Resources) -> Result<(), StepError> {
    if let Some(bytes) = resources.memory_bytes {
        memory(cgroup, bytes)?;
    }
    if let Some(millis) = resources.cpu_millis {
        let quota = (millis.saturating_mul(CPU_PERIOD_US) / 1000).max(MIN_CPU_QUOTA_US);
        match home(cgroup, "cpu")? {
            (group, true) => {
                write(group, "cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
                write(group, "cpu.cfs_quota_us", &quota.to_string())?;
            }
            (group, false) => write(group, "cpu.max", &format!("{quota} {CPU_PERIOD_US}"))?,
        }
    }
    if let Some(pids) = resources.pids {
        write(home(cgroup, "pids")?.0, "pids.max", &pids.to_string())?;
    }
    Ok(())
}

/// No swap beyond the memory: a container that swaps slows its neighbours down.
fn memory(cgroup: &Cgroup, bytes: u64) -> Result<(), StepError> {
    let value = bytes.to_string();
    let (group, swap_file, swap) = match home(cgroup, "memory")? {
        (group, true) => {
            write(group, "memory.limit_in_bytes", &value)?;
            (group, "memory.memsw.limit_in_bytes", value.as_str())
        }
        (group, false) => {
            write(group, "memory.max", &value)?;
            (group, "memory.swap.max", "0")
        }
    };
    match group.write(swap_file, swap.as_bytes()) {
        // The kernel does not count swap, or has none.
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(cause) => Err(cause).step(format_args!("set {swap_file} in {}", group.path)),
    }
}

/// The group that has `controller`, and whether it is v1's.
fn home<'a>(cgroup: &'a Cgroup, controller: &str) -> Result<(&'a Group, bool), StepError> {
    match cgroup.v1(controller) {
        Some(group) => Ok((group, true)),
        None => cgroup.v2().map(|group| (group, false)).ok_or_else(|| unavailable(controller)),
    }
}

fn write(group: &Group, file: &str, value: &str) -> Result<(), StepError> {
    group.write(file, value.as_bytes()).step(format_args!("set {file} to {value} in {}", group.path))
}

/// Makes every controller ready that limits may ask for, before the first container. In a guest, where
/// nothing else can be in the way.
pub fn enable_all(mount: &str, parent: &str) -> Result<(), StepError> {
    let parent_path = format!("{mount}/{parent}");
    match rustix::fs::mkdirat(CWD, &parent_path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => (),
        Err(cause) => return Err(cause).step(format_args!("make the cgroup {parent_path}")),
    }
    for folder in [mount, &parent_path] {
        let file = format!("{folder}/cgroup.subtree_control");
        let opened = rustix::fs::open(&file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let opened = opened.step(format_args!("open {file}"))?;
        rustix::io::write(&opened, b"+cpu +memory +pids")
            .step(format_args!("switch the controllers on in {file}"))?;
        // What asks for these is refused where they are not.
        for switch in [b"+cpuset".as_slice(), b"+io"] {
            let _ = rustix::io::write(&opened, switch);
        }
    }
    Ok(())
}
