//! Out of the caller's cgroups: a supervisor is born in `hull/supervisors` of the unified hierarchy, and
//! leaves those of cgroup v1 by itself. What a login session or a unit is limited to, or killed with, is
//! not its sandbox's.

use std::fs;
use std::path::Path;

const MOUNTS: &str = "/sys/fs/cgroup";

/// Moves this process, which has one thread yet, into the root of every v1 hierarchy it is not at the root
/// of. `tasks` and not `cgroup.procs`: a thread that moves itself waits for no grace period.
pub fn leave_v1_groups() {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for (controllers, path) in own.lines().filter_map(v1_group) {
        if path != "/" {
            // A hierarchy that is mounted nowhere limits nobody.
            let _ = fs::write(Path::new(MOUNTS).join(folder(controllers)).join("tasks"), "0");
        }
    }
}

/// A line of /proc/PID/cgroup (cgroups(7)): number, controllers, path. The unified hierarchy has no
/// controllers.
fn v1_group(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    (!controllers.is_empty()).then_some((controllers, path))
}

/// Where a hierarchy is mounted: under its controllers' names, or that of one that has none.
fn folder(controllers: &str) -> &str {
    controllers.strip_prefix("name=").unwrap_or(controllers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_unified_hierarchy_are_no_group_of_v1() {
        assert_eq!(v1_group("4:cpu,cpuacct:/user.slice"), Some(("cpu,cpuacct", "/user.slice")));
        assert_eq!(v1_group("0::/user.slice"), None);
        assert_eq!(v1_group("nonsense"), None);
        assert_eq!(folder("name=systemd"), "systemd");
    }
}
