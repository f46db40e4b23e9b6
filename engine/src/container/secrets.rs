//! `--secret` and `--config`: read-only files that a container has in memory.
//!
//! A file is read at each start and never kept. A variable's value is kept below the run folder, which is in memory on
//! any machine that boots, from the container's creation to its removal; it does not outlive the machine.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hull_guest::protocol::{OverlaidFile, Text};
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use crate::sandbox::remove;

/// Bytes of one (docker's limit).
const MAX_BYTES: u64 = 500 * 1024;
/// Bytes of all of a container's, as its agent is told of them; a call to it has room for 4 MiB.
const MAX_TOLD: usize = 3 << 20;
const MAX_COUNT: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("Failed to read the secret {name} from {}", path.display())]
    Read { name: String, path: PathBuf, source: io::Error },
    #[error(
        "{} is not a regular file, and the secret {name} is read from it at each start; env=VARIABLE takes what is in a \
         variable now",
        path.display()
    )]
    NotAFile { name: String, path: PathBuf },
    #[error("The secret {name} is longer than {} KiB", MAX_BYTES / 1024)]
    TooLong { name: String },
    #[error("The container's secrets and configs are longer than {} MiB together", MAX_TOLD >> 20)]
    TooMuch,
    #[error("Two secrets or configs have the id {0}")]
    Twice(String),
    #[error("Duplicate mount point: {0}")]
    Duplicate(String),
    #[error("{0} secrets and configs are more than a container may have, {MAX_COUNT}")]
    TooMany(usize),
    #[error("The secret {name} is to come from the variable {variable}, which is not set")]
    NoVariable { name: String, variable: String },
    #[error("Failed to keep the secret {name} in {}", path.display())]
    Keep { name: String, path: PathBuf, source: io::Error },
    #[error(
        "The secret {name} was a variable's value when the container was made, and is gone since the machine went \
         down: make the container again"
    )]
    Gone { name: String },
}

/// One file. What it holds is nowhere in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    pub kind: SecretKind,
    /// No two of a container's have the same: it may be a file's name.
    pub name: String,
    pub source: SecretSource,
    /// In the container: absolute.
    pub target: String,
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretKind {
    Secret,
    Config,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// Absolute.
    File(PathBuf),
    /// A variable of whoever makes the container.
    Env(String),
}

/// What a container gets at its start. `kept`: its folder of variables' values.
pub fn files(secrets: &[Secret], kept: &Path) -> Result<Vec<OverlaidFile>, SecretError> {
    let mut told: usize = 0;
    let mut files = Vec::new();
    for secret in secrets {
        let content = Text(secret.content(kept)?);
        // What JSON makes of it may be several times as long.
        told = told.saturating_add(serde_json::to_string(&content).map_or(usize::MAX, |text| text.len()));
        if told > MAX_TOLD {
            return Err(SecretError::TooMuch);
        }
        files.push(OverlaidFile {
            target: secret.target.as_str().into(),
            content,
            mode: secret.mode,
            uid: secret.uid,
            gid: secret.gid,
            readonly: true,
        });
    }
    Ok(files)
}

/// Keeps the values of variables for a container's starts, and makes sure that the files can be read now.
pub fn keep(secrets: &[Secret], kept: &Path) -> Result<(), SecretError> {
    let done = secrets.iter().try_for_each(|secret| secret.keep(kept));
    let done = done.and_then(|()| files(secrets, kept).map(drop));
    if done.is_err() {
        let _ = remove::tree(kept);
    }
    done
}

/// The files that whoever makes the container named are there, before anything is made.
pub fn check(secrets: &[Secret]) -> Result<(), SecretError> {
    for secret in secrets {
        match &secret.source {
            SecretSource::File(path) => drop(secret.read(path)?),
            SecretSource::Env(variable) if std::env::var_os(variable).is_none() => {
                return Err(SecretError::NoVariable {
                    name: secret.name.clone(),
                    variable: variable.clone(),
                });
            }
            SecretSource::Env(_) => {}
        }
    }
    Ok(())
}

impl Secret {
    fn content(&self, kept: &Path) -> Result<Vec<u8>, SecretError> {
        match &self.source {
            SecretSource::File(path) => self.read(path),
            SecretSource::Env(_) => match self.read(&kept.join(&self.name)) {
                Err(SecretError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    Err(SecretError::Gone { name: self.name.clone() })
                }
                read => read,
            },
        }
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, SecretError> {
        let failed = |source| SecretError::Read { name: self.name.clone(), path: path.to_path_buf(), source };
        // A pipe without a writer must not hold the start up.
        let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(SecretError::NotAFile { name: self.name.clone(), path: path.to_path_buf() });
        }
        let mut content = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut content).map_err(failed)?;
        self.bounded(content)
    }

    fn bounded(&self, content: Vec<u8>) -> Result<Vec<u8>, SecretError> {
        match u64::try_from(content.len()) {
            Ok(..=MAX_BYTES) => Ok(content),
            _ => Err(SecretError::TooLong { name: self.name.clone() }),
        }
    }

    fn keep(&self, kept: &Path) -> Result<(), SecretError> {
        use std::os::unix::ffi::OsStringExt;
        let SecretSource::Env(variable) = &self.source else { return Ok(()) };
        let value = std::env::var_os(variable)
            .ok_or_else(|| SecretError::NoVariable { name: self.name.clone(), variable: variable.clone() })?;
        let value = self.bounded(value.into_vec())?;
        let path = kept.join(&self.name);
        let written = make_folders(kept).and_then(|()| write(&path, &value));
        written.map_err(|source| SecretError::Keep { name: self.name.clone(), path, source })
    }
}

/// The container's folder, and the one they are in.
fn make_folders(kept: &Path) -> io::Result<()> {
    for folder in kept.parent().into_iter().chain([kept]) {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    Ok(())
}

fn write(path: &Path, value: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(value)
}

/// Refuses two of one name, or at one target, and more than there may be.
pub fn distinct(secrets: &[Secret]) -> Result<(), SecretError> {
    let (mut names, mut targets) = (BTreeSet::new(), BTreeSet::new());
    for secret in secrets {
        if !names.insert(&secret.name) {
            return Err(SecretError::Twice(secret.name.clone()));
        }
        if !targets.insert(&secret.target) {
            return Err(SecretError::Duplicate(secret.target.clone()));
        }
    }
    if secrets.len() > MAX_COUNT { Err(SecretError::TooMany(secrets.len())) } else { Ok(()) }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
