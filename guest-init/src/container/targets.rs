//! Where in a container something may be mounted: anywhere but on its root and in /proc, by the rules of runc.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::error::{Step, StepError};

/// Names below /proc that lxcfs and the like put something of their own on.
const EMULATED: [&[u8]; 11] = [
    b"/proc/cpuinfo",
    b"/proc/diskstats",
    b"/proc/meminfo",
    b"/proc/stat",
    b"/proc/swaps",
    b"/proc/uptime",
    b"/proc/loadavg",
    b"/proc/slabinfo",
    b"/proc/net/dev",
    b"/proc/sys/kernel/ns_last_pid",
    b"/proc/sys/crypto/fips_enabled",
];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("invalid specification: destination can't be '/'")]
    Root,
    #[error("{0:?} cannot be mounted because it is not of type proc")]
    NotProc(String),
    #[error("{0:?} cannot be mounted because it is inside /proc")]
    InsideProc(String),
}

/// Checks an absolute path without links. `may_be_proc`: what is mounted there is, or could be, a procfs.
pub fn check_path(path: &[u8], may_be_proc: bool) -> Result<(), TargetError> {
    let shown = || String::from_utf8_lossy(path).into_owned();
    match path {
        b"/" => Err(TargetError::Root),
        b"/proc" if may_be_proc => Ok(()),
        b"/proc" => Err(TargetError::NotProc(shown())),
        _ if path.starts_with(b"/proc/") && !EMULATED.contains(&path) => {
            Err(TargetError::InsideProc(shown()))
        }
        _ => Ok(()),
    }
}

/// Checks where a path of the image has led to, seen from the container's root.
pub fn check(target: &OwnedFd, is_proc: bool) -> Result<(), StepError> {
    let link = format!("/proc/self/fd/{}", target.as_raw_fd());
    let led = rustix::fs::readlink(&link, Vec::new()).step(format_args!("read {link}"))?;
    check_path(led.as_bytes(), is_proc).map_err(|refused| StepError::setup(refused.to_string()))
}

/// A path without empty names, `.` and the slash at its end.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let mut cleaned = Vec::with_capacity(path.len());
    for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".") {
        cleaned.push(b'/');
        cleaned.extend_from_slice(name);
    }
    if cleaned.is_empty() { b"/".to_vec() } else { cleaned }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_proc_are_refused_and_what_lxcfs_mounts_is_not() {
        let refused = |path: &str, proc| check_path(path.as_bytes(), proc).map_err(|error| error.to_string());
        assert_eq!(refused("/", true).unwrap_err(), "invalid specification: destination can't be '/'");
        assert_eq!(refused("/proc", true), Ok(()));
        let told = refused("/proc", false).unwrap_err();
        assert_eq!(told, "\"/proc\" cannot be mounted because it is not of type proc");
        let told = refused("/proc/sys", true).unwrap_err();
        assert_eq!(told, "\"/proc/sys\" cannot be mounted because it is inside /proc");
        for path in ["/proc/uptime", "/proc/sys/crypto/fips_enabled", "/process", "/dev/shm", "/sys"] {
            assert_eq!(refused(path, false), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_are_compared_without_what_means_nothing() {
        assert_eq!(clean(b"//etc/./hosts/"), b"/etc/hosts");
        assert_eq!(clean(b"/./"), b"/");
    }
}
