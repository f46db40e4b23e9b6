//! The mount API of fsopen(2), step by step with errors that carry the kernel's own message.

use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::error::{Step, StepError, words};
use crate::protocol::ErrorKind;

/// Bytes of a value that fsconfig(2) takes, its NUL included.
pub const MAX_VALUE: usize = 256;

/// A file system that is being configured.
pub struct FsContext {
    name: &'static str,
    context: OwnedFd,
}

impl FsContext {
    pub fn open(name: &'static str) -> Result<Self, StepError> {
        let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)
            .step(format_args!("open the {name} file system (is it in this kernel?)"))?;
        Ok(FsContext { name, context })
    }

    pub fn flag(self, key: &str) -> Result<Self, StepError> {
        match fsconfig_set_flag(&self.context, key) {
            Ok(()) => Ok(self),
            Err(cause) => Err(self.refused(format_args!("set {key} on"), cause)),
        }
    }

    /// Goes without where the kernel does not know the option, or does not grant it.
    pub fn flag_if_known(self, key: &str) -> Self {
        let _ = fsconfig_set_flag(&self.context, key);
        self
    }

    pub fn set(self, key: &str, value: &[u8]) -> Result<Self, StepError> {
        match fsconfig_set_string(&self.context, key, value) {
            Ok(()) => Ok(self),
            Err(cause) => Err(self.refused(format_args!("set {key}={} on", value.escape_ascii()), cause)),
        }
    }

    /// Makes the superblock and a mount of it that is not attached anywhere yet.
    pub fn mount(self, attributes: MountAttrFlags) -> Result<OwnedFd, StepError> {
        self.try_create()?.map_err(|cause| {
            StepError::because(ErrorKind::Setup, format!("Failed to create a {} mount", self.name), cause)
        })?;
        self.into_mount(attributes)
    }

    /// Makes the superblock; ENOTBLK and ENODEV come back for the caller to judge.
    pub fn try_create(&self) -> Result<Result<(), Errno>, StepError> {
        match fsconfig_create(&self.context) {
            Ok(()) => Ok(Ok(())),
            Err(cause @ (Errno::NOTBLK | Errno::NODEV)) => Ok(Err(cause)),
            Err(cause) => Err(self.refused(format_args!("mount"), cause)),
        }
    }

    pub fn into_mount(self, attributes: MountAttrFlags) -> Result<OwnedFd, StepError> {
        fsmount(&self.context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .step(format_args!("mount {}", self.name))
    }

    /// The context's log says in words what the error number cannot.
    fn refused(&self, what: impl Display, cause: Errno) -> StepError {
        let mut log = [0u8; 512];
        let told = rustix::io::read(&self.context, &mut log).unwrap_or(0);
        let told = log.get(..told).unwrap_or_default();
        // Each line starts with its level: "e erofs: ...".
        let told = told.split(|&b| b == b' ').skip(1).collect::<Vec<_>>().join(&b' ');
        let told = told.trim_ascii_end();
        let step = format!("Failed to {what} {}", self.name);
        if told.is_empty() {
            StepError::because(ErrorKind::Setup, step, cause)
        } else {
            StepError::setup(format!("{step}: {} ({})", words(cause), told.escape_ascii()))
        }
    }
}

/// Attaches a detached mount on top of `target`.
pub fn attach(mount: impl AsFd, target: impl AsFd, path: &str) -> Result<(), StepError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags).step(format_args!("attach the mount of {path}"))
}

/// Where mounts are put that are only reached by descriptor until the root is entered: any folder that
/// is everywhere and that set-up no longer looks into will do. Not "/" itself: what is stacked there
/// would stay when the old root is taken off.
const ASIDE: &str = "/sys";

/// Attaches a mount where nothing looks for it; it goes away with the old root at pivot_root(2).
pub fn attach_aside(mount: impl AsFd, what: &str) -> Result<(), StepError> {
    move_mount(mount, c"", rustix::fs::CWD, ASIDE, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step(format_args!("attach {what}"))
}
