//! The root of both processes: a tmpfs with one folder, in which each share has a mount point.
//!
//! That folder is the guest's root. It is none of the process', where a share named `proc` or `etc` would be
//! what the C library looks for there. The tmpfs is mounted twice: as the root it is read-only, so that the
//! guest makes nothing among the shares. The other, where mount points are made, is attached nowhere and only
//! the stager has it.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use hull_fs::control::ShareName;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, mkdirat, openat, statx, unlinkat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, move_mount, open_tree, unmount,
};
use rustix::path::Arg;
use rustix::process::{chdir, pivot_root, umask};

/// Where the root is put for a moment. It is there on every host that runs machines.
const MOUNT_POINT: &CStr = c"/dev";
/// The guest's root.
pub const SHARES: &str = "/shares";
/// Mount points take an inode each and no blocks.
const OPTIONS: &CStr = c"mode=755,size=64k,nr_inodes=4096";

#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    #[error("Failed to {action}")]
    Step { action: &'static str, source: Errno },
}

#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    #[error("No mount came along for {0}")]
    NoMount(ShareName),
    #[error("There is a share {0} already")]
    Exists(ShareName),
    #[error("There is no share {0}")]
    NotFound(ShareName),
    #[error("Only folders and regular files can be shared; this is {0}")]
    Kind(&'static str),
    #[error("The guest has a file of {0} open for writing")]
    Written(ShareName),
    #[error("Failed to {action} {name}")]
    Step { action: &'static str, name: ShareName, source: Errno },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
}

/// The stager's view of the root.
#[derive(Debug)]
pub struct Staging {
    /// The folder of the shares once more, writable and attached nowhere.
    writable: OwnedFd,
    shares: BTreeMap<ShareName, Kind>,
}

impl Staging {
    /// Mounts it, not as the root yet.
    pub fn prepare() -> Result<Staging, StagingError> {
        let step = |action| move |source| StagingError::Step { action, source };
        // Whatever the caller's is.
        umask(Mode::from_raw_mode(0o022));
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount(c"none", MOUNT_POINT, c"tmpfs", flags, OPTIONS).map_err(step("mount the new root"))?;
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let root = open_tree(CWD, MOUNT_POINT, clone).map_err(step("open the new root for writing"))?;
        let name = SHARES.trim_start_matches('/');
        mkdirat(&root, name, Mode::from_raw_mode(0o755)).map_err(step("make the folder of the shares"))?;
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let writable =
            openat(&root, name, folder, Mode::empty()).map_err(step("open the folder of the shares"))?;
        let read_only = MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        read_only.apply(libc::AT_FDCWD, MOUNT_POINT, 0).map_err(step("make the new root read-only"))?;
        Ok(Staging { writable, shares: BTreeMap::new() })
    }

    /// Shows a detached mount.
    pub fn add(&mut self, name: ShareName, tree: Option<OwnedFd>) -> Result<(), ShareError> {
        let tree = tree.ok_or_else(|| ShareError::NoMount(name.clone()))?;
        if self.shares.contains_key(&name) {
            return Err(ShareError::Exists(name));
        }
        let step = |action| {
            let name = name.clone();
            move |source| ShareError::Step { action, name, source }
        };
        let kind = kind(&tree).map_err(step("look at"))??;
        restrict(&tree).map_err(step("take devices and set-user-ID away from"))?;
        self.make_point(&name, kind).map_err(step("make the mount point of"))?;
        let moved = move_mount(&tree, c"", CWD, path(&name), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
        if let Err(source) = moved {
            // What failed is the mount; an empty mount point too many shows nothing of the host.
            let _ = self.remove_point(&name, kind);
            return Err(step("mount")(source));
        }
        self.shares.insert(name, kind);
        Ok(())
    }

    /// Takes all writing from a share, here and below. It is the mount that becomes read-only, and whatever the
    /// guest knows of the share the server has through this mount: what it opens for writing or changes from here
    /// on is refused (EROFS), however long ago the guest looked it up.
    pub fn make_read_only(&mut self, name: &ShareName) -> Result<(), ShareError> {
        if !self.shares.contains_key(name) {
            return Err(ShareError::NotFound(name.clone()));
        }
        let read_only = MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        let flags = libc::AT_RECURSIVE | libc::AT_SYMLINK_NOFOLLOW;
        let made = path(name).into_with_c_str(|path| read_only.apply(libc::AT_FDCWD, path, flags));
        match made {
            Ok(()) => Ok(()),
            // mount_setattr(2): a file is open for writing.
            Err(Errno::BUSY) => Err(ShareError::Written(name.clone())),
            Err(source) => {
                Err(ShareError::Step { action: "take all writing from", name: name.clone(), source })
            }
        }
    }

    pub fn remove(&mut self, name: &ShareName) -> Result<(), ShareError> {
        let &kind = self.shares.get(name).ok_or_else(|| ShareError::NotFound(name.clone()))?;
        let step = |action| {
            let name = name.clone();
            move |source| ShareError::Step { action, name, source }
        };
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        unmount(path(name), flags).map_err(step("unmount"))?;
        self.shares.remove(name);
        self.remove_point(name, kind).map_err(step("remove the mount point of"))
    }

    fn make_point(&self, name: &ShareName, kind: Kind) -> Result<(), Errno> {
        match kind {
            Kind::Folder => mkdirat(&self.writable, name.as_str(), Mode::empty()),
            Kind::File => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                openat(&self.writable, name.as_str(), flags, Mode::empty()).map(drop)
            }
        }
    }

    fn remove_point(&self, name: &ShareName, kind: Kind) -> Result<(), Errno> {
        let flags = if kind == Kind::Folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        unlinkat(&self.writable, name.as_str(), flags)
    }
}

/// Makes it the root of every process of this mount namespace whose root and working directory are `/`.
pub fn enter() -> Result<(), StagingError> {
    let step = |action| move |source| StagingError::Step { action, source };
    chdir(MOUNT_POINT).map_err(step("change to the future root"))?;
    // pivot_root(2), "pivot_root(".", ".")": the old root is stacked on the new one, and is what "."
    // names until it is taken off.
    pivot_root(".", ".").map_err(step("make it the root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(step("take off the host's root"))?;
    chdir("/").map_err(step("change to the new root"))
}

fn path(name: &ShareName) -> String {
    format!("{SHARES}/{name}")
}

fn kind(tree: &OwnedFd) -> Result<Result<Kind, ShareError>, Errno> {
    let status = statx(tree, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
    Ok(match FileType::from_raw_mode(status.stx_mode.into()) {
        FileType::Directory => Ok(Kind::Folder),
        FileType::RegularFile => Ok(Kind::File),
        FileType::Symlink => Err(ShareError::Kind("a symbolic link")),
        FileType::Socket => Err(ShareError::Kind("a socket")),
        FileType::Fifo => Err(ShareError::Kind("a pipe")),
        FileType::CharacterDevice | FileType::BlockDevice => Err(ShareError::Kind("a device")),
        FileType::Unknown => Err(ShareError::Kind("something else")),
    })
}

/// No devices, no set-user-ID, and no mounts that come and go with the host's, here and below. The supervisor
/// has done so already; a second time costs a system call.
fn restrict(tree: &OwnedFd) -> Result<(), Errno> {
    let attributes = MountAttr {
        set: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        propagation: libc::MS_PRIVATE,
        ..MountAttr::default()
    };
    attributes.apply(tree.as_raw_fd(), c"", libc::AT_EMPTY_PATH | libc::AT_RECURSIVE)
}

/// `struct mount_attr` of linux/mount.h, for mount_setattr(2).
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

impl MountAttr {
    fn apply(&self, folder: RawFd, path: &CStr, flags: libc::c_int) -> Result<(), Errno> {
        // SAFETY: the path is a C string and `self` a live struct of the size passed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                folder,
                path.as_ptr(),
                flags,
                std::ptr::from_ref(self),
                size_of::<MountAttr>(),
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        }
    }
}

/// This process' own descriptors as a folder that is attached nowhere: `..` of it leads nowhere, and nothing
/// else of /proc is there. To be called while the host's /proc is.
pub fn own_descriptors() -> Result<OwnedFd, StagingError> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, c"/proc/self/fd", clone)
        .map_err(|source| StagingError::Step { action: "open /proc/self/fd", source })
}
