//! Volumes and bind mounts: what of the host's a container sees.
//!
//! What is asked for (`-v`, `--mount`, `--volumes-from`, the image's VOLUME) becomes [`MountPoint`]s in the container's
//! config, and rows of the volumes they name. Each start turns them into what the agent is told.
//!
//! A volume is a folder below `<root>/volumes`, then a row ([`catalog`], [`folder`]). Its driver ([`driver`]) says what
//! a container is shown of it: a folder of the store, a file system that is mounted while a sandbox has it, a disk, or
//! what a plugin has made.

pub mod attach;
pub mod catalog;
pub mod driver;
mod error;
pub mod folder;
pub mod machine;
pub mod model;
pub mod options;
pub mod parse;
pub mod patience;
pub mod populate;
pub mod prune;
pub mod seen;
pub mod usage;

pub use catalog::sweep;
pub use error::VolumeError;
pub use model::{Kind, MountPoint, VolumeRow, VolumeSettings};
