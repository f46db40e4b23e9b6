//! Namespaces of its own, and an empty root.

use std::fs;
use std::io;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, getegid, geteuid, pivot_root};

use super::JailError;
use crate::config::JailConfig;

/// Where the empty root is put for a moment. It is there on every host that has /dev/kvm.
const MOUNT_POINT: &str = "/dev";

/// Leaves the host's mounts, network, IPC and host name; without root, or where the jail's user is none of
/// the user namespace's, by way of a user namespace whose only user is the jail's.
pub fn leave(config: &JailConfig) -> Result<(), JailError> {
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() && has_user(config.uid) {
        let hint = ": this root lacks CAP_SYS_ADMIN";
        return unshare(flags).map_err(|errno| JailError::Unshare { hint, source: errno.into() });
    }
    let hint = ": without root this needs user namespaces, which this host seems to forbid";
    unshare(flags | CloneFlags::CLONE_NEWUSER)
        .map_err(|errno| JailError::Unshare { hint, source: errno.into() })?;
    // user_namespaces(7): without privileges outside, a gid map needs setgroups(2) denied first.
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("{} {uid} 1", config.uid))?;
    write("/proc/self/gid_map", &format!("{} {gid} 1", config.gid))
}

/// Whether this process could become that user (user_namespaces(7)).
fn has_user(wanted: u32) -> bool {
    // Without the file there are no user namespaces.
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else { return true };
    map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse::<u32>().ok());
        match (numbers.next().flatten(), numbers.nth(1).flatten()) {
            (Some(first), Some(count)) => wanted.checked_sub(first).is_some_and(|at| at < count),
            _ => false,
        }
    })
}

fn write(path: &'static str, text: &str) -> Result<(), JailError> {
    fs::write(path, text).map_err(|source| JailError::IdMap { path, source })
}

/// Makes the root an empty read-only file system that not even its owner may search.
pub fn empty_root() -> Result<(), JailError> {
    let none: Option<&str> = None;
    let step = |action: &'static str, result: nix::Result<()>| {
        result.map_err(|errno| JailError::Root { action, source: io::Error::from(errno) })
    };
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    step("make mounts private", mount(none, "/", none, private, none))?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = Some("mode=0,size=4k,nr_inodes=1");
    step("mount an empty root", mount(Some("none"), MOUNT_POINT, Some("tmpfs"), flags, options))?;
    step("enter the empty root", chdir(MOUNT_POINT))?;
    // pivot_root(2), "pivot_root(".", ".")": the old root is stacked on the new one, and is what "."
    // names until it is taken off.
    step("make the empty root the root", pivot_root(".", "."))?;
    step("take off the host's root", umount2(".", MntFlags::MNT_DETACH))?;
    step("change to the empty root", chdir("/"))
}
