//! Limits on memory, CPU, processes and disks, in the words of v1 and v2.

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Cgroup, Group, Layout};
use crate::error::{Step, StepError, shown};
use crate::protocol::{ErrorKind, IoLimit, Resources};

/// The span over which CPU time is rationed: the kernel's default.
const CPU_PERIOD_US: u64 = 100_000;
/// The kernel's least quota (min_cfs_quota_period).
const MIN_CPU_QUOTA_US: u64 = 1_000;

/// The controllers that these limits need.
pub fn controllers(resources: &Resources) -> Vec<&'static str> {
    let r = resources;
    let memory = [r.memory_bytes, r.memory_reservation_bytes, r.memory_swap_bytes];
    let cpu = [r.cpu_millis, r.cpu_shares, r.cpu_period_us, r.cpu_quota_us];
    let wanted = [
        ("memory", memory.iter().any(Option::is_some)),
        ("cpu", cpu.iter().any(Option::is_some)),
        ("cpuset", r.cpuset_cpus.is_some()),
        ("pids", r.pids.is_some()),
        ("blkio", !r.io.is_empty()),
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
            // Above those that this user was given; what is not on there is not there further down.
            Err(Errno::ACCESS | Errno::PERM) if crate::sys::in_user_namespace() => (),
            Err(cause) => return Err(cause).step(format_args!("switch {controller} on in {file}")),
        }
        folder = format!("{folder}/{name}");
    }
    Ok(())
}

/// Writes the limits named where their controllers are.
pub fn apply(cgroup: &Cgroup, resources: &Resources) -> Result<(), StepError> {
    memory(cgroup, resources)?;
    cpu(cgroup, resources)?;
    if let Some(list) = &resources.cpuset_cpus {
        write(home(cgroup, "cpuset")?.0, "cpuset.cpus", list)?;
    }
    if let Some(pids) = resources.pids {
        write(home(cgroup, "pids")?.0, "pids.max", &or_none(pids, "max"))?;
    }
    resources.io.iter().try_for_each(|limit| io(cgroup, limit))
}

/// A number, or the word for no limit.
fn or_none(value: u64, none: &str) -> String {
    if value == u64::MAX { none.to_owned() } else { value.to_string() }
}

fn memory(cgroup: &Cgroup, resources: &Resources) -> Result<(), StepError> {
    let (limit, swap) = (resources.memory_bytes, resources.memory_swap_bytes.or(resources.memory_bytes));
    if limit.is_some() || swap.is_some() {
        match home(cgroup, "memory")? {
            (group, true) => memory_v1(group, limit, swap)?,
            (group, false) => memory_v2(group, limit, swap)?,
        }
    }
    let Some(bytes) = resources.memory_reservation_bytes else { return Ok(()) };
    match home(cgroup, "memory")? {
        (group, true) => write(group, "memory.soft_limit_in_bytes", &or_none(bytes, "-1")),
        (group, false) => write(group, "memory.low", &or_none(bytes, "max")),
    }
}

/// v1 limits memory, and memory with swap, which must never be less.
fn memory_v1(group: &Group, limit: Option<u64>, both: Option<u64>) -> Result<(), StepError> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const BOTH: &str = "memory.memsw.limit_in_bytes";
    let set_limit = || limit.map_or(Ok(()), |bytes| group.write(LIMIT, or_none(bytes, "-1").as_bytes()));
    let set_both = || match both.map(|bytes| group.write(BOTH, or_none(bytes, "-1").as_bytes())) {
        // The kernel does not count swap, or has none.
        None | Some(Ok(()) | Err(Errno::NOENT)) => Ok(()),
        Some(Err(cause)) => Err(cause).step(format_args!("set {BOTH} in {}", group.path)),
    };
    let what = || format!("set {LIMIT} in {}", group.path);
    match set_limit() {
        Ok(()) => set_both(),
        // More than the present limit of both.
        Err(Errno::INVAL) => set_both().and_then(|()| set_limit().step(what())),
        Err(cause) => Err(cause).step(what()),
    }
}

/// v2 limits swap apart.
fn memory_v2(group: &Group, limit: Option<u64>, both: Option<u64>) -> Result<(), StepError> {
    if let Some(bytes) = limit {
        write(group, "memory.max", &or_none(bytes, "max"))?;
    }
    let Some(both) = both else { return Ok(()) };
    let limit = limit.or_else(|| group.read("memory.max").ok()?.trim().parse().ok());
    let swap = match limit {
        _ if both == u64::MAX => u64::MAX,
        Some(limit) => both.saturating_sub(limit),
        None => {
            return Err(StepError::new(ErrorKind::Invalid, "memory_swap_bytes: there is no memory limit"));
        }
    };
    match group.write("memory.swap.max", or_none(swap, "max").as_bytes()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(cause) => Err(cause).step(format_args!("set memory.swap.max in {}", group.path)),
    }
}

fn cpu(cgroup: &Cgroup, resources: &Resources) -> Result<(), StepError> {
    if let Some(shares) = resources.cpu_shares {
        match home(cgroup, "cpu")? {
            (group, true) => write(group, "cpu.shares", &shares.to_string())?,
            (group, false) => write(group, "cpu.weight", &weight(shares).to_string())?,
        }
    }
    let (period, quota) = match resources.cpu_millis {
        Some(millis) => {
            let quota = millis.saturating_mul(CPU_PERIOD_US) / 1000;
            (Some(CPU_PERIOD_US), Some(quota.max(MIN_CPU_QUOTA_US)))
        }
        None => (resources.cpu_period_us, resources.cpu_quota_us),
    };
    if period.is_none() && quota.is_none() {
        return Ok(());
    }
    match home(cgroup, "cpu")? {
        (group, true) => {
            if let Some(period) = period {
                write(group, "cpu.cfs_period_us", &period.to_string())?;
            }
            quota.map_or(Ok(()), |quota| write(group, "cpu.cfs_quota_us", &or_none(quota, "-1")))
        }
        (group, false) => {
            // One file for both: what is not named stays.
            let now = group.read("cpu.max").unwrap_or_default();
            let (old_quota, old_period) = now.trim().split_once(' ').unwrap_or(("max", "100000"));
            let quota = quota.map_or(old_quota.to_owned(), |quota| or_none(quota, "max"));
            let period = period.map_or(old_period.to_owned(), |period| period.to_string());
            write(group, "cpu.max", &format!("{quota} {period}"))
        }
    }
}

/// Shares from 2 to 262144 onto weights from 1 to 10000.
fn weight(shares: u64) -> u64 {
    1 + shares.clamp(2, 262_144).saturating_sub(2) * 9999 / 262_142
}

fn io(cgroup: &Cgroup, limit: &IoLimit) -> Result<(), StepError> {
    let path = shown(limit.device.as_bytes()).to_string();
    let stat = rustix::fs::stat(limit.device.as_bytes()).step(format_args!("look at the device {path}"))?;
    if !FileType::from_raw_mode(stat.st_mode).is_block_device() {
        return Err(StepError::new(
            ErrorKind::Invalid,
            format!("resources.io: {path} is not a block device"),
        ));
    }
    let number = format!("{}:{}", rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let named = [
        (limit.read_bps, "rbps", "blkio.throttle.read_bps_device"),
        (limit.write_bps, "wbps", "blkio.throttle.write_bps_device"),
        (limit.read_iops, "riops", "blkio.throttle.read_iops_device"),
        (limit.write_iops, "wiops", "blkio.throttle.write_iops_device"),
    ];
    let (group, is_v1) = home(cgroup, "blkio")?;
    for (value, word, file) in named {
        match value {
            None => (),
            // 0 is v1's word for none.
            Some(value) if is_v1 => write(group, file, &format!("{number} {}", or_none(value, "0")))?,
            Some(value) => write(group, "io.max", &format!("{number} {word}={}", or_none(value, "max")))?,
        }
    }
    Ok(())
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

/// Makes the controllers ready that every container is measured by, before the first one. In a guest, where
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
        // A switch that is not there spoils the others. cpuset is left for the first who asks for it.
        rustix::io::write(&opened, b"+cpu +memory +pids +io")
            .or_else(|_| rustix::io::write(&opened, b"+cpu +memory +pids"))
            .step(format_args!("switch the controllers on in {file}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_between_the_ends() {
        assert_eq!([2, 1024, 262_144].map(weight), [1, 39, 10_000]);
    }

    #[test]
    fn no_limit_has_a_word() {
        assert_eq!((or_none(u64::MAX, "max"), or_none(7, "max")), ("max".into(), "7".into()));
    }
}
