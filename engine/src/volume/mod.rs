//! Volumes and bind mounts: what of the host's a container sees.
//!
//! What is asked for (`-v`, `--mount`, `--volumes-from`, the image's VOLUME) becomes [`MountPoint`]s in the container's
//! config, and rows of the volumes they name. Each start turns them into what the agent is told.

pub mod model;
pub mod options;
pub mod parse;

pub use model::{Kind, MountPoint, VolumeRow, VolumeSettings};
