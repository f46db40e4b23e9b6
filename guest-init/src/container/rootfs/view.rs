//! A container's root as a mount of its own, to be read from outside.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::CWD;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::container::mount_attr;
use crate::error::{Step, StepError};

/// The root of the container that the process behind a pidfd is in: without what is mounted in it,
/// read-only, and without devices, so that whatever is opened there is a file of the root's. The calling
/// process enters the container's mount namespace, and is good for nothing else afterwards.
pub fn open(container: &OwnedFd) -> Result<OwnedFd, StepError> {
    move_into_thread_name_spaces(container.as_fd(), ThreadNameSpaceType::MOUNT)
        .step("enter the container's mount namespace")?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, "/", clone).step("open the container's root")?;
    let flags = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOSUID;
    mount_attr::add_to(&tree, flags).step("make a view of the container's root read-only")?;
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::openat(&tree, ".", flags, rustix::fs::Mode::empty()).step("open the container's root")
}
