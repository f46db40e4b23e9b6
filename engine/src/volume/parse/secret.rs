//! `--secret` and `--config`: `id=NAME,src=FILE|env=VARIABLE[,target=PATH][,uid=N][,gid=N][,mode=NNN]`.

use super::csv::{self, CsvError};
use super::{MountError, ParseError, against_here, checked, target};
use crate::container::secrets::{Secret, SecretKind, SecretSource};

/// Docker's default.
const MODE: u32 = 0o444;
/// Of a name (docker's).
const MAX_NAME: usize = 64;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretWordError {
    #[error(transparent)]
    Csv(#[from] CsvError),
    #[error(
        "invalid field '{0}' must be a key=value pair: hull keeps no secrets, so say where it is, as in \
         id=NAME,src=FILE or id=NAME,env=VARIABLE"
    )]
    NoValue(String),
    #[error("unexpected key '{0}'")]
    Key(String),
    #[error("invalid value for {key}: {value}")]
    Value { key: String, value: String },
    #[error("invalid id \"{0}\": ids are [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most {MAX_NAME} characters")]
    Name(String),
    #[error("id is required")]
    NoName,
    #[error("say where it is, with src=FILE or env=VARIABLE")]
    NoSource,
    #[error("src and env cannot both be")]
    TwoSources,
    #[error(transparent)]
    Target(#[from] MountError),
    #[error("the current folder, which the file is relative to, cannot be told")]
    CurrentFolder,
}

#[derive(Default)]
struct Fields {
    name: String,
    file: String,
    variable: String,
    target: String,
    uid: u32,
    gid: u32,
    mode: Option<u32>,
}

impl Fields {
    fn take(&mut self, field: &str) -> Result<(), SecretWordError> {
        let Some((key, value)) = field.split_once('=') else {
            return Err(SecretWordError::NoValue(field.to_string()));
        };
        let refused = || SecretWordError::Value { key: key.to_string(), value: value.to_string() };
        let number = || value.parse::<u32>().ok().filter(|id| *id != u32::MAX).ok_or_else(refused);
        match key {
            "id" => self.name = value.to_string(),
            "src" | "source" => self.file = value.to_string(),
            "env" => self.variable = value.to_string(),
            "target" | "dst" | "destination" => self.target = value.to_string(),
            "uid" => self.uid = number()?,
            "gid" => self.gid = number()?,
            "mode" => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                self.mode = Some(mode.ok_or_else(refused)?);
            }
            _ => return Err(SecretWordError::Key(key.to_string())),
        }
        Ok(())
    }

    fn into_secret(self, kind: SecretKind) -> Result<Secret, SecretWordError> {
        if self.name.is_empty() {
            return Err(SecretWordError::NoName);
        }
        let sound = self.name.len() <= MAX_NAME
            && self.name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if !sound {
            return Err(SecretWordError::Name(self.name));
        }
        let source = match (self.file.as_str(), self.variable.as_str()) {
            ("", "") => return Err(SecretWordError::NoSource),
            ("", _) => SecretSource::Env(self.variable),
            (_, "") => {
                checked(&self.file)?;
                let path = against_here(&self.file).map_err(|_| SecretWordError::CurrentFolder)?;
                SecretSource::File(path.into())
            }
            _ => return Err(SecretWordError::TwoSources),
        };
        // Docker's places; a relative target is in the same folder.
        let folder = match kind {
            SecretKind::Secret => "/run/secrets",
            SecretKind::Config => "",
        };
        let place = match self.target.as_str() {
            "" => format!("{folder}/{}", self.name),
            path if path.starts_with('/') => path.to_string(),
            path => format!("{folder}/{path}"),
        };
        let (uid, gid, mode) = (self.uid, self.gid, self.mode.unwrap_or(MODE));
        Ok(Secret { kind, source, target: target(&place)?, name: self.name, uid, gid, mode })
    }
}

pub fn parse(word: &str, kind: SecretKind) -> Result<Secret, ParseError> {
    let read = || {
        let mut fields = Fields::default();
        csv::fields(word)?.iter().try_for_each(|field| fields.take(field))?;
        fields.into_secret(kind)
    };
    let flag = match kind {
        SecretKind::Secret => "--secret",
        SecretKind::Config => "--config",
    };
    read().map_err(|source| ParseError::Secret { word: word.to_string(), flag, source })
}
