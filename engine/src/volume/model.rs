//! What is kept of volumes, and of what is mounted where.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hull_guest::protocol::Propagation;
use serde::{Deserialize, Serialize};

/// The driver of volumes that hull keeps itself.
pub const LOCAL: &str = "local";

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRow {
    /// Docker's names are their ids, too.
    pub name: String,
    /// [`LOCAL`], or a plugin's name.
    pub driver: String,
    /// Nanoseconds since 1970.
    pub created: i64,
    pub settings: VolumeSettings,
}

impl VolumeRow {
    /// Whether what it shows is in the store, and nobody else's: not mounted from elsewhere, not a plugin's.
    pub fn is_stored(&self) -> bool {
        self.driver == LOCAL && (self.settings.options.is_empty() || self.settings.block_bytes.is_some())
    }
}

/// What a volume's row keeps as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSettings {
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `--opt`, by docker's names.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Made for a container that did not name it, and removed with it (`--rm`, `rm -v`).
    #[serde(default)]
    pub anonymous: bool,
    /// The container that it goes with, of its own accord (`--rm`): whoever is killed between both leaves it to a sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_with: Option<String>,
    /// Some: an ext4 file of that many bytes, which a virtual machine gets as a disk (`kind=block`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_bytes: Option<u64>,
    /// A virtual machine has written to the block volume: its file system is hostile, and the host does not mount it.
    #[serde(default)]
    pub written_by_machine: bool,
}

/// One bind mount or volume of a container; its config has them in the order in which they are mounted, outer ones
/// first. In-memory ones are apart, as [`hull_guest::protocol::Mount::Tmpfs`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    pub kind: Kind,
    /// In the container: absolute, without `.`, `..` and double slashes.
    pub target: String,
    #[serde(default)]
    pub readonly: bool,
    #[serde(default)]
    pub propagation: Propagation,
    /// What is mounted below the source comes along (`bind-recursive=disabled` says no).
    #[serde(default = "yes")]
    pub recursive: bool,
    /// `volume-subpath`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<PathBuf>,
    /// What `-v` had behind the last colon, which docker's inspect shows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mode: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Kind {
    /// A path of the host: absolute.
    Bind {
        source: PathBuf,
        /// Made, as an empty folder, where it is missing (`-v`).
        #[serde(default)]
        create: bool,
    },
    Volume {
        name: String,
        /// Made for this container, or for another whose volumes it has, by which it was not named: it goes with
        /// the last of them (`--rm`, `rm -v`).
        #[serde(default)]
        anonymous: bool,
        /// Whether an empty volume gets what the image has at the target.
        copy: bool,
    },
}

const fn yes() -> bool {
    true
}
