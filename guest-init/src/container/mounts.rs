//! The file systems every container gets, and the paths of theirs that it must not read or write.
//! Runs inside the container's root, before any of its code.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree,
};

use super::cgroup::{ContainerView, View};
use super::rootfs::fsapi::{FsContext, attach};
use super::{dev, mount_attr};
use crate::error::{Step, StepError};
use crate::sys::has_group;

const NO_SUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NO_DEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NO_EXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// As docker's default.
const SHM_BYTES: u64 = 64 << 20;
const DEV_BYTES: &[u8] = b"65536k";
/// The group of terminals, as distributions number it.
const TTY: u32 = 5;

/// A file system at a folder of the container.
struct Fixed<'a> {
    kind: &'static str,
    target: &'a str,
    options: &'a [(&'a str, &'a [u8])],
    attributes: MountAttrFlags,
}

/// Where /dev/shm comes from.
pub enum ShmSource {
    /// Of that many bytes.
    New(Option<u64>),
    /// A detached mount.
    Shared(OwnedFd),
}

/// /proc, which may have been made before.
pub fn proc(made: Option<OwnedFd>) -> Result<(), StepError> {
    let sealed = NO_SUID.union(NO_DEV).union(NO_EXEC);
    match made {
        Some(mount) => attach(mount, open_or_make_folder("/proc")?, "/proc"),
        None => Fixed { kind: "proc", target: "/proc", options: &[], attributes: sealed }.mount(),
    }
}

/// An empty /dev.
pub fn dev() -> Result<(), StepError> {
    let options: &[(&str, &[u8])] = &[("mode", b"755"), ("size", DEV_BYTES)];
    Fixed { kind: "tmpfs", target: "/dev", options, attributes: NO_SUID }.mount()
}

/// What belongs below /dev.
pub fn below_dev(shm: ShmSource) -> Result<(), StepError> {
    let sealed = NO_SUID.union(NO_DEV).union(NO_EXEC);
    let options: &[(&str, &[u8])] = &[("ptmxmode", b"0666"), ("mode", b"0620"), ("gid", b"5")];
    // A user namespace without that group has root's terminals.
    let options = if has_group(TTY) { options } else { &options[..2] };
    Fixed { kind: "devpts", target: "/dev/pts", options, attributes: NO_SUID.union(NO_EXEC) }.mount()?;
    match shm {
        ShmSource::New(bytes) => {
            let bytes = bytes.unwrap_or(SHM_BYTES).to_string();
            let options = &[("mode", b"1777".as_slice()), ("size", bytes.as_bytes())];
            Fixed { kind: "tmpfs", target: "/dev/shm", options, attributes: sealed }.mount()?;
        }
        ShmSource::Shared(mount) => attach(mount, open_or_make_folder("/dev/shm")?, "/dev/shm")?,
    }
    Fixed { kind: "mqueue", target: "/dev/mqueue", options: &[], attributes: sealed }.mount()
}

/// /sys, which may have been made before, and /sys/fs/cgroup, read-only.
pub fn sys(view: &View, made: Option<OwnedFd>) -> Result<(), StepError> {
    let sealed = NO_SUID.union(NO_DEV).union(NO_EXEC).union(READ_ONLY);
    match made {
        Some(mount) => attach(mount, open_or_make_folder("/sys")?, "/sys")?,
        None => Fixed { kind: "sysfs", target: "/sys", options: &[], attributes: sealed }.mount()?,
    }
    match view {
        View::Unified => {
            Fixed { kind: "cgroup2", target: "/sys/fs/cgroup", options: &[], attributes: sealed }.mount()
        }
        View::PerController(hierarchies) => per_controller(hierarchies, sealed),
    }
}

/// On v1 and hybrid hosts: a folder per hierarchy in which the container has a cgroup of its own. The
/// others would only show it the host's.
fn per_controller(hierarchies: &[ContainerView], sealed: MountAttrFlags) -> Result<(), StepError> {
    let base = Fixed {
        kind: "tmpfs",
        target: "/sys/fs/cgroup",
        options: &[("mode", b"755")],
        attributes: sealed.difference(READ_ONLY),
    };
    base.mount()?;
    for hierarchy in hierarchies {
        let target = format!("/sys/fs/cgroup/{}", hierarchy.folder);
        let folder = open_or_make_folder(&target)?;
        let mut context = FsContext::open(hierarchy.kind)?;
        for controller in &hierarchy.controllers {
            context = context.flag(controller)?;
        }
        attach(context.mount(sealed)?, &folder, &target)?;
    }
    mount_attr::add("/sys/fs/cgroup", READ_ONLY).step("make /sys/fs/cgroup read-only")
}

impl Fixed<'_> {
    fn mount(&self) -> Result<(), StepError> {
        let target = open_or_make_folder(self.target)?;
        let mut context = FsContext::open(self.kind)?;
        for (key, value) in self.options {
            context = context.set(key, value)?;
        }
        attach(context.mount(self.attributes)?, &target, self.target)
    }
}

/// The folder at `path`, made if the image lacks it. A symlink there is refused: what is mounted on
/// /proc has to be found, and masked, at /proc.
fn open_or_make_folder(path: &str) -> Result<OwnedFd, StepError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::open(path, flags, Mode::empty());
    match open() {
        Ok(folder) => Ok(folder),
        Err(Errno::NOENT) => {
            rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755)).step(format_args!("make {path}"))?;
            open().step(format_args!("open {path}"))
        }
        Err(Errno::NOTDIR | Errno::LOOP) => {
            Err(StepError::setup(format!("{path} in the image is not a folder")))
        }
        Err(cause) => Err(cause).step(format_args!("open {path}")),
    }
}

/// Hides each path: a file behind /dev/null, a folder behind an empty one. What is absent stays so.
pub fn mask(paths: &[String]) -> Result<(), StepError> {
    let mut null = None;
    for path in paths {
        // Looked at first: a bind that fails on a folder costs an RCU grace period.
        match rustix::fs::stat(path.as_str()) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => {
                mask_folder(path).step(format_args!("mask {path}"))?;
            }
            Ok(_) => {
                let null = match &null {
                    Some(open) => open,
                    None => null.insert(dev::open_null(OFlags::PATH)?),
                };
                mask_file(null, path).step(format_args!("mask {path}"))?;
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(cause) => return Err(cause).step(format_args!("mask {path}")),
        }
    }
    Ok(())
}

fn mask_file(null: &OwnedFd, path: &str) -> Result<(), Errno> {
    let clone =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mask = open_tree(null, c"", clone)?;
    move_mount(mask, c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn mask_folder(path: &str) -> Result<(), Errno> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(c"tmpfs", path, c"tmpfs", flags, c"nr_inodes=1,size=4k")
}

/// Makes each path, and what is mounted below it, read-only. What is absent stays so.
pub fn make_readonly(paths: &[String]) -> Result<(), StepError> {
    for path in paths {
        match rustix::mount::mount_bind_recursive(path.as_str(), path.as_str()) {
            Ok(()) => {
                mount_attr::add_recursive(path, READ_ONLY).step(format_args!("make {path} read-only"))?
            }
            Err(Errno::NOENT) => (),
            Err(cause) => return Err(cause).step(format_args!("make {path} read-only")),
        }
    }
    Ok(())
}

/// `--read-only`: "/" itself; what is mounted below keeps its own flags.
pub fn make_root_readonly() -> Result<(), StepError> {
    mount_attr::add("/", READ_ONLY).step("make the root read-only")
}
