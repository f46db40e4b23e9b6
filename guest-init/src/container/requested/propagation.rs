//! Which mounts and unmounts below a bind show on the other side (mount_namespaces(7)).

use std::os::fd::{AsRawFd, OwnedFd};

use super::source;
use crate::container::mount_attr;
use crate::error::{Step, StepError};
use crate::protocol::{Bind, Propagation};

/// Whether the mount that `source` lies on can do what is asked of it, as docker checks it. In the mount namespace of
/// the source.
pub fn check(source: &OwnedFd, bind: &Bind) -> Result<(), StepError> {
    let what = "look up the mount of a bind source";
    let number = source.as_raw_fd();
    let info = read(&format!("/proc/self/fdinfo/{number}"))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
    let mounts = read("/proc/self/mountinfo")?;
    let mount = id.and_then(|id| Mount::find(&mounts, id));
    let mount = mount.ok_or_else(|| StepError::setup(format!("Failed to {what}")))?;
    let lacks = match bind.propagation {
        Propagation::Private => return Ok(()),
        Propagation::Shared if mount.shared => return Ok(()),
        Propagation::Slave if mount.shared || mount.slave => return Ok(()),
        Propagation::Shared => "shared",
        Propagation::Slave => "shared or slave",
    };
    let (path, point) = (source::name(bind), mount.point);
    Err(StepError::setup(format!("path {path} is mounted on {point} but it is not a {lacks} mount")))
}

/// Gives a clone its propagation.
pub fn set(mount: &OwnedFd, bind: &Bind) -> Result<(), StepError> {
    let wanted = match bind.propagation {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Shared => libc::MS_SHARED,
    };
    mount_attr::set_propagation(mount, wanted)
        .step(format_args!("set the propagation of the bind of {}", source::name(bind)))
}

/// A line of /proc/self/mountinfo. proc_pid_mountinfo(5)
#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    point: &'a str,
    shared: bool,
    slave: bool,
}

impl<'a> Mount<'a> {
    fn find(mounts: &'a str, id: &str) -> Option<Self> {
        let line = mounts.lines().find(|line| line.split(' ').next() == Some(id))?;
        let mut fields = line.split(' ').skip(4);
        let point = fields.next()?;
        let mut optional = fields.skip(1).take_while(|field| *field != "-");
        let (mut shared, mut slave) = (false, false);
        optional.by_ref().for_each(|field| {
            shared |= field.starts_with("shared:");
            slave |= field.starts_with("master:");
        });
        Some(Mount { point, shared, slave })
    }
}

fn read(path: &str) -> Result<String, StepError> {
    let bytes = std::fs::read(path)
        .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
        .step(format_args!("read {path}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_mountinfo_tells_the_propagation() {
        let mounts = "21 1 0:5 / / rw shared:1 - ext4 /dev/vda rw\n\
                      22 21 0:6 /x /srv/a\\040b ro,nosuid master:3 propagate_from:2 - tmpfs shared:9 rw\n\
                      122 21 0:6 / /mnt rw - tmpfs none rw\n";
        let found = |id| Mount::find(mounts, id).unwrap();
        assert_eq!(found("21"), Mount { point: "/", shared: true, slave: false });
        assert_eq!(found("22"), Mount { point: "/srv/a\\040b", shared: false, slave: true });
        assert_eq!(found("122"), Mount { point: "/mnt", shared: false, slave: false });
        assert_eq!(Mount::find(mounts, "2"), None);
    }
}
