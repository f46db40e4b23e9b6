//! Where this machine's cgroup hierarchies are mounted: v2, v1, or v1 with a v2 beside it ("hybrid").

use std::collections::BTreeMap;

use rustix::fs::{Access, AtFlags, CWD};

use crate::error::{Step, StepError};

/// Where cgroup file systems are by convention (and always in a guest).
const CONVENTION: &str = "/sys/fs/cgroup";
/// CGROUP2_SUPER_MAGIC of linux/magic.h.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Every controller that v1 had. Documentation/admin-guide/cgroup-v1
const V1_CONTROLLERS: [&str; 15] = [
    "cpuset",
    "cpu",
    "cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "perf_event",
    "net_prio",
    "hugetlb",
    "pids",
    "rdma",
    "misc",
    "debug",
];

/// A v1 hierarchy: its mount point and the controllers it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V1 {
    pub mount: String,
    pub controllers: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The mount point of v2.
    pub unified: Option<String>,
    pub v1: Vec<V1>,
}

impl Layout {
    /// Looks at this machine. In a user namespace only what its user was given counts: the agent is born
    /// in a cgroup of the unified hierarchy then.
    pub fn discover() -> Result<Self, StepError> {
        let layout = Self::of_machine()?;
        if !crate::sys::in_user_namespace() {
            return Ok(layout);
        }
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let is_given = |mount: &String| {
            let procs = format!("{mount}{own}/cgroup.procs");
            rustix::fs::accessat(CWD, procs, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
        };
        Ok(Layout { unified: layout.unified.filter(is_given), v1: Vec::new() })
    }

    fn of_machine() -> Result<Self, StepError> {
        let magic = rustix::fs::statfs(CONVENTION).ok().and_then(|stat| u64::try_from(stat.f_type).ok());
        if magic == Some(CGROUP2_MAGIC) {
            return Ok(Layout { unified: Some(CONVENTION.to_owned()), v1: Vec::new() });
        }
        let mountinfo = std::fs::read("/proc/self/mountinfo")
            .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
            .step("read /proc/self/mountinfo")?;
        Ok(Self::parse(&mountinfo))
    }

    /// Reads a mountinfo file, proc_pid_mountinfo(5).
    pub fn parse(mountinfo: &[u8]) -> Self {
        let mut layout = Layout::default();
        let mut whole: BTreeMap<Vec<String>, bool> = BTreeMap::new();
        for line in mountinfo.split(|&byte| byte == b'\n') {
            let Some(mount) = CgroupMount::parse(line) else { continue };
            let key = mount.controllers.clone().unwrap_or_default();
            // Of several mounts of a hierarchy, the one that shows all of it counts.
            let seen = whole.insert(key.clone(), mount.is_whole || whole.get(&key) == Some(&true));
            let better = seen.is_none() || (seen == Some(false) && mount.is_whole);
            match mount.controllers {
                _ if !better => (),
                None => layout.unified = Some(mount.point),
                Some(controllers) => {
                    layout.v1.retain(|known| known.controllers != controllers);
                    layout.v1.push(V1 { mount: mount.point, controllers });
                }
            }
        }
        layout
    }

    /// The v1 hierarchy that carries `controller`.
    pub fn with(&self, controller: &str) -> Option<&V1> {
        self.v1.iter().find(|hierarchy| hierarchy.controllers.iter().any(|has| has == controller))
    }
}

struct CgroupMount {
    point: String,
    /// It shows the hierarchy from its root.
    is_whole: bool,
    /// None is v2.
    controllers: Option<Vec<String>>,
}

impl CgroupMount {
    /// None for other file systems, and for v1 hierarchies without a controller (`name=systemd`).
    fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, unescape(left.next()?));
        let mut right = right.split(' ');
        let kind = right.next()?;
        let options = right.nth(1)?;
        let is_whole = root == "/";
        match kind {
            "cgroup2" => Some(CgroupMount { point, is_whole, controllers: None }),
            "cgroup" => {
                let known = |word: &&str| V1_CONTROLLERS.contains(word);
                let controllers: Vec<String> = options.split(',').filter(known).map(str::to_owned).collect();
                let carries = !controllers.is_empty();
                carries.then_some(CgroupMount { point, is_whole, controllers: Some(controllers) })
            }
            _ => None,
        }
    }
}

/// Space, tab, newline and backslash are octal in mountinfo.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(mount: &str, controllers: &[&str]) -> V1 {
        V1 {
            mount: mount.into(),
            controllers: controllers.iter().map(|controller| (*controller).into()).collect(),
        }
    }

    #[test]
    fn pure_v2_is_found_wherever_it_is_mounted() {
        let info =
            b"25 1 0:23 / /proc rw - proc proc rw\n31 23 0:27 / /my\\040groups rw - cgroup2 cgroup2 rw\n";
        assert_eq!(Layout::parse(info), Layout { unified: Some("/my groups".into()), v1: vec![] });
    }

    #[test]
    fn hybrid_has_v1_hierarchies_by_controller_and_v2_beside_them() {
        let info = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let layout = Layout::parse(info);
        assert_eq!(layout.unified.as_deref(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(
            layout.v1,
            [v1("/sys/fs/cgroup/cpu,cpuacct", &["cpu", "cpuacct"]), v1("/sys/fs/cgroup/memory", &["memory"])]
        );
        assert_eq!(layout.with("cpuacct"), layout.with("cpu"));
        assert_eq!(layout.with("pids"), None);
    }

    #[test]
    fn mount_of_the_whole_hierarchy_wins_over_one_of_a_part() {
        let info = b"1 0 0:1 /a /part rw - cgroup cgroup rw,memory\n\
            2 0 0:1 / /whole rw - cgroup cgroup rw,memory\n\
            3 0 0:1 /b /other rw - cgroup cgroup rw,memory\n";
        assert_eq!(Layout::parse(info).v1, [v1("/whole", &["memory"])]);
    }

    #[test]
    fn lines_that_make_no_sense_are_skipped() {
        assert_eq!(Layout::parse(b"\n - \n1 2 - cgroup\n\xff\xfe\n"), Layout::default());
    }
}
