//! Where binds come from.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, mkdirat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::disk::{self, DiskFolder, FirstUse};
use super::propagation;
use crate::beneath;
use crate::container::namespaces;
use crate::container::rootfs;
use crate::container::rootfs::fsapi::FsContext;
use crate::container::spec::ValidMount;
use crate::error::{Step, StepError, shown};
use crate::protocol::{Bind, BindSource, ErrorKind, Propagation, SHARE_TAG, Text};
use crate::sys::in_user_namespace;

/// Something to be mounted, detached.
pub struct Source {
    pub mount: OwnedFd,
    pub fill: Fill,
}

/// Whether it is to be filled with what the image has.
pub enum Fill {
    No,
    /// If it is an empty folder.
    Folder,
    Disk(FirstUse),
}

/// The sources of one container.
pub struct Sources<'a> {
    /// The mount namespace of the host's paths.
    hosts: Option<&'a OwnedFd>,
}

impl<'a> Sources<'a> {
    /// Waits for the disks among them. Before anything is mounted in the container's mount namespace. `hosts`: the
    /// mount namespace in which the host's paths are looked up.
    pub fn wait_for(mounts: &[ValidMount], hosts: Option<&'a OwnedFd>) -> Result<Self, StepError> {
        for mount in mounts {
            if let ValidMount::Bind(Bind { source: BindSource::Disk { disk }, .. }) = mount {
                rootfs::wait_for_disk(*disk)?;
            }
        }
        Ok(Sources { hosts })
    }

    /// A detached mount of what a bind names.
    pub fn take(&mut self, bind: &Bind) -> Result<Source, StepError> {
        let mount = match &bind.source {
            BindSource::Path { path } => match self.hosts {
                Some(hosts) => namespaces::visit(hosts, || of_path(path, bind))??,
                None => of_path(path, bind)?,
            },
            BindSource::Share { name } => clone(&open_share(name)?, bind)?,
            BindSource::Disk { disk } => {
                let root = rootfs::mount_disk(*disk, MountAttrFlags::MOUNT_ATTR_NODEV)?;
                let DiskFolder { folder, first_use } = disk::open(root, bind.copy_image)?;
                let fill = first_use.map_or(Fill::No, Fill::Disk);
                return Ok(Source { mount: clone(&folder, bind)?, fill });
            }
        };
        Ok(Source { mount, fill: if bind.copy_image { Fill::Folder } else { Fill::No } })
    }
}

/// Where a guest's agent has what the host shares, and each container's set-up a copy of that mount.
const SHARED: &str = "/shared";

/// Mounts what the host shares. Once a guest, by the agent itself: the kernel finds the superblock for another mount by
/// its device, and those of the folders in it, which it mounts as they are come by, have the same device and are found
/// first (virtio_fs_get_tree() and sget_fc() of Linux).
pub fn mount_shared() -> Result<(), StepError> {
    let sealed = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let root = FsContext::open("virtiofs")?.set("source", SHARE_TAG.as_bytes())?.mount(sealed)?;
    match mkdirat(CWD, SHARED, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(cause) => return Err(cause).step(format_args!("make {SHARED}")),
    }
    move_mount(&root, c"", CWD, SHARED, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step("attach what the host shares")
}

/// A name in the root of what the host shares. It is mounted as it is opened.
fn open_share(name: &str) -> Result<OwnedFd, StepError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(SHARED, flags, Mode::empty()).step("open what the host shares")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    open_tree(&root, name, flags).step(format_args!("open the host's share {name}"))
}

/// What a message calls the source of a bind.
pub fn name(bind: &Bind) -> String {
    let subpath = match &bind.subpath {
        Some(subpath) => format!("/{}", shown(subpath.as_bytes())),
        None => String::new(),
    };
    match &bind.source {
        BindSource::Path { path } => format!("{}{subpath}", shown(path.as_bytes())),
        BindSource::Share { name } => format!("{name}{subpath}"),
        BindSource::Disk { disk } => format!("disk {}{subpath}", disk.index),
    }
}

/// In the host's mount namespace.
fn of_path(path: &Text, bind: &Bind) -> Result<OwnedFd, StepError> {
    // Not a clone yet. Unlike open(2) with O_PATH this looks behind an automount point.
    let source = match open_tree(CWD, path.as_bytes(), OpenTreeFlags::OPEN_TREE_CLOEXEC) {
        Err(Errno::NOENT) => {
            let why = format!("bind source path does not exist: {}", shown(path.as_bytes()));
            return Err(StepError::setup(why));
        }
        other => other.step(format_args!("open the bind source {}", shown(path.as_bytes())))?,
    };
    clone(&source, bind)
}

/// A detached mount of `source`, or of what is below it.
fn clone(source: &OwnedFd, bind: &Bind) -> Result<OwnedFd, StepError> {
    let below = match &bind.subpath {
        Some(subpath) => Some(open_below(source, subpath.as_bytes(), bind)?),
        None => None,
    };
    let source = below.as_ref().unwrap_or(source);
    if bind.propagation != Propagation::Private {
        propagation::check(source, bind)?;
    }
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, bind.recursive);
    match open_tree(source, c"", flags) {
        // mount_namespaces(7), "Restrictions on mount namespaces".
        Err(Errno::INVAL) if in_user_namespace() && !bind.recursive => Err(StepError::setup(format!(
            "Failed to bind {} without what is mounted below it: a user without root may not see what that \
                 hides",
            name(bind)
        ))),
        other => other.step(format_args!("bind {}", name(bind))),
    }
}

/// A path below a folder, which nothing on the way leads out of.
fn open_below(folder: &OwnedFd, path: &[u8], bind: &Bind) -> Result<OwnedFd, StepError> {
    let refused = || format!("cannot access path {}", name(bind));
    beneath::open(folder, path).map_err(|cause| match cause {
        Errno::XDEV => StepError::setup(format!("{}: it leads out of the volume", refused())),
        cause => StepError::because(ErrorKind::Setup, refused(), cause),
    })
}

#[cfg(test)]
mod tests;
