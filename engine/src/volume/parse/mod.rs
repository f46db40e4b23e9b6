//! What `-v`, `--mount` and `--volumes-from` ask for, by docker's rules and in its words.
//!
//! Nothing here looks at the machine but for the current folder, against which relative sources are read.

mod csv;
mod flags;
pub mod from;
pub mod long;
pub mod secret;
pub mod short;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use hull_guest::protocol::{Mount, Propagation};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use flags::word as propagation_word;
pub use from::From;

/// Bytes of a path, with room for the NUL (linux/limits.h).
const PATH_MAX: usize = 4096;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("invalid empty volume spec")]
    Empty,
    #[error("invalid spec: {0}: empty section between colons")]
    EmptySection(String),
    #[error("invalid volume specification: '{0}'")]
    Spec(String),
    #[error("invalid mode: {0}")]
    Mode(String),
    #[error("invalid volume specification: '{word}': invalid mount config for type \"{kind}\"")]
    InSpec {
        word: String,
        kind: &'static str,
        #[source]
        source: MountError,
    },
    #[error("invalid mount config for type \"{kind}\"")]
    Config {
        kind: &'static str,
        #[source]
        source: MountError,
    },
    #[error("invalid mount config for type \"{0}\": mount type unknown")]
    UnknownType(String),
    #[error("invalid argument \"{word}\" for \"--mount\" flag")]
    Argument {
        word: String,
        #[source]
        source: long::FieldError,
    },
    #[error("invalid argument \"{word}\" for \"{flag}\" flag")]
    Secret {
        word: String,
        flag: &'static str,
        #[source]
        source: secret::SecretWordError,
    },
    #[error("Duplicate mount point: {0}")]
    Duplicate(String),
    #[error("volumes-from specification cannot be an empty string")]
    FromEmpty,
    #[error("invalid name or ID supplied: \"\"")]
    FromNobody,
    #[error("The current folder, which \"{0}\" is relative to, cannot be told")]
    CurrentFolder(String),
}

/// Why a mount cannot be as it is asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    #[error("invalid mount path: '{0}' mount path must be absolute")]
    Relative(String),
    #[error("invalid specification: destination can't be '/'")]
    Root,
    #[error("invalid mount path: longer than {PATH_MAX} bytes")]
    TooLong,
    #[error("invalid mount path: it has a NUL byte in it")]
    Nul,
    #[error("field {0} must not be specified")]
    Field(&'static str),
    #[error("field Source must not be empty")]
    NoSource,
    #[error("must not set ReadOnly mode when using anonymous volumes")]
    ReadonlyAnonymous,
    #[error("invalid propagation mode: {0}")]
    Propagation(String),
    #[error("subpath must be a relative path within the volume")]
    Subpath,
}

/// One mount that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedMount {
    pub source: Source,
    pub target: String,
    pub readonly: bool,
    pub propagation: Propagation,
    pub recursive: bool,
    /// `volume-subpath`
    pub subpath: Option<PathBuf>,
    /// What `-v` had behind the last colon.
    pub mode: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path of the host, absolute; made as an empty folder where it is missing, if `create` says so.
    Bind {
        path: PathBuf,
        create: bool,
    },
    Volume(AskedVolume),
}

/// A volume that is asked for, and what it is made with where it is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedVolume {
    /// None: one of the container's own.
    pub name: Option<String>,
    pub driver: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    /// `nocopy`: an empty volume stays empty.
    pub nocopy: bool,
}

impl AskedVolume {
    pub fn is_block(&self) -> bool {
        self.options.get("kind").is_some_and(|kind| kind == "block")
    }
}

/// What of this inspect shows as it was asked for, whatever became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shown {
    /// `-v`, with relative sources made absolute.
    pub binds: Vec<String>,
    /// `--mount`, in the shape of docker's API.
    pub mounts: Vec<Value>,
    pub volumes_from: Vec<String>,
    pub driver: String,
    /// Targets of `-v TARGET` and the image's VOLUME.
    pub targets: Vec<String>,
    /// `--tmpfs`, by path.
    pub tmpfs: BTreeMap<String, String>,
}

impl Shown {
    pub fn is_empty(&self) -> bool {
        *self == Shown::default()
    }
}

/// The words of a command line.
#[derive(Debug, Default)]
pub struct Words<'a> {
    pub volumes: &'a [String],
    pub mounts: &'a [String],
    pub volumes_from: &'a [String],
    pub driver: Option<&'a str>,
}

/// Everything that a command line asks for.
#[derive(Debug, Default)]
pub struct Asked {
    pub mounts: Vec<AskedMount>,
    /// Targets of `-v TARGET`: a volume of its own for each that nothing else is at.
    pub targets: Vec<String>,
    pub from: Vec<From>,
    /// What anonymous volumes are made with.
    pub driver: Option<String>,
    /// `--tmpfs` and `--mount type=tmpfs`
    pub tmpfs: Vec<Mount>,
    pub shown: Shown,
}

/// Reads the words, to which `tmpfs` comes from `--tmpfs`.
pub fn parse(words: &Words<'_>, tmpfs: Vec<Mount>) -> Result<Asked, ParseError> {
    let driver = words.driver.filter(|driver| !driver.is_empty());
    let mut asked = Asked {
        tmpfs,
        driver: driver.map(str::to_string),
        shown: Shown {
            volumes_from: words.volumes_from.to_vec(),
            driver: driver.unwrap_or_default().to_string(),
            ..Shown::default()
        },
        ..Asked::default()
    };
    for word in words.volumes {
        match short::parse(word, driver)? {
            short::Short::Target(target) => asked.targets.push(target),
            short::Short::Mount { mount, shown } => {
                asked.mounts.push(*mount);
                asked.shown.binds.push(shown);
            }
        }
    }
    for word in words.mounts {
        let (mount, shown) = long::parse(word)?;
        match mount {
            long::Long::Mount(mount) => asked.mounts.push(*mount),
            long::Long::Tmpfs(mount) => asked.tmpfs.push(mount),
        }
        asked.shown.mounts.push(shown);
    }
    asked.from = words.volumes_from.iter().map(|word| from::parse(word)).collect::<Result<_, _>>()?;
    asked.shown.targets.clone_from(&asked.targets);
    distinct(&asked)?;
    Ok(asked)
}

/// One mount a target.
fn distinct(asked: &Asked) -> Result<(), ParseError> {
    let in_memory = asked.tmpfs.iter().filter_map(tmpfs_target);
    let mut seen = std::collections::BTreeSet::new();
    for target in asked.mounts.iter().map(|mount| mount.target.clone()).chain(in_memory) {
        if let Some(twice) = seen.replace(target) {
            return Err(ParseError::Duplicate(twice));
        }
    }
    Ok(())
}

pub fn tmpfs_target(mount: &Mount) -> Option<String> {
    match mount {
        Mount::Tmpfs { target, .. } => {
            Some(clean(Path::new(target.as_os_str())).to_string_lossy().into_owned())
        }
        Mount::Bind(_) => None,
    }
}

/// A path of a container: absolute, not its root, and in its shortest form.
pub fn target(word: &str) -> Result<String, MountError> {
    if !word.starts_with('/') {
        return Err(MountError::Relative(word.to_string()));
    }
    checked(word)?;
    match clean(Path::new(word)).into_os_string().into_string() {
        Ok(path) if path != "/" => Ok(path),
        _ => Err(MountError::Root),
    }
}

fn checked(word: &str) -> Result<(), MountError> {
    match word.len() {
        PATH_MAX.. => Err(MountError::TooLong),
        _ if word.contains('\0') => Err(MountError::Nul),
        _ => Ok(()),
    }
}

/// An absolute path with `.` and `..` resolved as words, as docker's client and daemon do.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// A word against the current folder.
fn against_here(word: &str) -> Result<String, ParseError> {
    let failed = || ParseError::CurrentFolder(word.to_string());
    let here = std::env::current_dir().map_err(|_| failed())?;
    clean(&here.join(word)).into_os_string().into_string().map_err(|_| failed())
}

#[cfg(test)]
mod tests;
