//! What can be wrong with what is asked of volumes.

use std::io;
use std::path::{Path, PathBuf};

use super::driver::block::BlockError;
use super::driver::local::{LocalMountError, OptionError};
use super::driver::mounts::MountError;
use super::driver::plugin::PluginError;
use crate::format::filter::FilterError;
use crate::store;

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("Failed to {what} {}", .path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    // Docker's words.
    #[error("get {name}: no such volume")]
    NotFound { name: String },
    #[error("Failed to read /dev/urandom")]
    Random(#[source] io::Error),
    #[error("create {0}: volume name is too short, names should be at least two alphanumeric characters")]
    ShortName(String),
    #[error("create {0}: volume name is too long, names should be at most 255 characters")]
    LongName(String),
    #[error(
        "create {0}: {0:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" \
         are allowed. If you intended to pass a host directory, use absolute path"
    )]
    Name(String),
    #[error(
        "create {name}: conflict: volume name must be unique: there is a volume {name} of the driver {driver}"
    )]
    Conflict { name: String, driver: String },
    #[error("create {name}")]
    Options { name: String, source: OptionError },
    #[error("create {name}")]
    ByPlugin { name: String, source: PluginError },
    #[error("Volume {name} is being mounted, unmounted or filled by others; try again when that is over")]
    Busy { name: String },
    #[error("The start was called off while it had or waited for volume {name}")]
    CalledOff { name: String },
    #[error("remove {name}: {} is mounted in it; unmount that first", .below.display())]
    MountedBelow { name: String, below: PathBuf },
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error(transparent)]
    Local(#[from] LocalMountError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl VolumeError {
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// Whether it says that there is no such volume.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Store(error) => error.kind() == store::Kind::NotFound,
            _ => false,
        }
    }
}
