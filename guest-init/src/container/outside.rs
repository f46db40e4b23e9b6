//! What a container in a user namespace gets from outside its root: the kernel makes it no device nodes, and
//! a proc or sysfs only as long as it sees one that hides nothing (`mount_too_revealing` in fs/namespace.c),
//! which is before the old root goes.

use std::os::fd::OwnedFd;

use rustix::fs::CWD;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use super::dev::NODES;
use super::mount_attr;
use super::rootfs::fsapi::FsContext;
use crate::error::{Step, StepError};
use crate::sys::in_user_namespace;

const SEALED: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// Detached mounts.
pub struct Outside {
    pub proc: OwnedFd,
    pub sys: OwnedFd,
    /// The host's own nodes, in the order of [`NODES`].
    pub nodes: Vec<OwnedFd>,
}

impl Outside {
    /// In all its namespaces, before the root is entered. None: the container can make all of it itself.
    pub fn prepare() -> Result<Option<Self>, StepError> {
        if !in_user_namespace() {
            return Ok(None);
        }
        let nodes = NODES.iter().map(|(path, ..)| {
            open_tree(CWD, *path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
                .step(format_args!("share the host's {path}"))
        });
        let nodes = nodes.collect::<Result<_, _>>()?;
        Ok(Some(Outside { proc: FsContext::open("proc")?.mount(SEALED)?, sys: sys()?, nodes }))
    }
}

/// A sysfs shows a network namespace's devices, so that of the host's is made by the host alone; who is in it
/// gets a view of the host's.
fn sys() -> Result<OwnedFd, StepError> {
    let read_only = SEALED | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let own = FsContext::open("sysfs").and_then(|context| context.mount(read_only));
    if own.is_ok() {
        return own;
    }
    let clone =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let view = open_tree(CWD, "/sys", clone).step("share the host's /sys")?;
    mount_attr::add_to_all(&view, read_only).step("make a view of the host's /sys read-only")?;
    Ok(view)
}
