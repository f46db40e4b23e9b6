//! What plugins answer, and what is believed of it.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

/// Of a path (PATH_MAX).
const MAX_PATH: usize = 4095;
/// Of a time.
const MAX_TIME: usize = 64;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Said {
    #[serde(default, rename = "Err", deserialize_with = "or_empty")]
    pub words: String,
}

/// `null` for a text that is not there is Go's habit.
fn or_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(from)?.unwrap_or_default())
}

#[derive(Debug, Deserialize)]
pub(super) struct Activated {
    #[serde(rename = "Implements")]
    pub implements: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Mountpoint {
    #[serde(default, rename = "Mountpoint", deserialize_with = "or_empty")]
    mountpoint: String,
}

impl Mountpoint {
    pub fn path(self) -> Result<PathBuf, String> {
        check_path(&self.mountpoint)?;
        Ok(PathBuf::from(self.mountpoint))
    }
}

/// An absolute path that leads nowhere else than it says.
fn check_path(text: &str) -> Result<(), String> {
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    match path.is_absolute() && plain && !text.contains('\0') && text.len() <= MAX_PATH {
        true => Ok(()),
        false => Err("with a mount point that is not an absolute path without ..".to_owned()),
    }
}

/// A volume as its plugin has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Volume {
    #[serde(rename = "Name")]
    pub name: String,
    /// Empty while it is not mounted, if the plugin does not say where it would be.
    #[serde(default, rename = "Mountpoint", deserialize_with = "or_empty")]
    pub mountpoint: String,
    /// RFC 3339, or empty.
    #[serde(default, rename = "CreatedAt", deserialize_with = "or_empty")]
    pub created: String,
    /// Whatever it likes to tell.
    #[serde(default, rename = "Status")]
    pub status: Option<Map<String, Value>>,
}

impl Volume {
    pub(super) fn checked(mut self) -> Result<Self, String> {
        if !self.mountpoint.is_empty() {
            check_path(&self.mountpoint)?;
        }
        if self.created.len() > MAX_TIME || crate::time::parse_rfc3339(&self.created).is_none() {
            self.created.clear();
        }
        Ok(self)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Found {
    #[serde(default, rename = "Volume")]
    pub volume: Option<Volume>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    #[serde(default, rename = "Volumes")]
    pub volumes: Option<Vec<Volume>>,
}

/// Where a plugin's volumes are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Local,
    Global,
}

impl Scope {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Global => "global",
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Scoped {
    #[serde(default, rename = "Capabilities")]
    capabilities: Option<Capabilities>,
}

#[derive(Debug, Deserialize)]
struct Capabilities {
    #[serde(default, rename = "Scope", deserialize_with = "or_empty")]
    scope: String,
}

impl Scoped {
    pub fn scope(&self) -> Scope {
        match &self.capabilities {
            Some(capabilities) if capabilities.scope.eq_ignore_ascii_case("global") => Scope::Global,
            _ => Scope::Local,
        }
    }
}
