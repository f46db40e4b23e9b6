//! Docker's `config.json`: which registries there are logins for, and where they are kept.
//!
//! The file is docker's, podman's and others' too: keys that hull does not know stay as they are, and a
//! change replaces the file in one step. <https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties>

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Value};

use super::credentials::{self, Credentials, Secret};
use super::error::{Error, Result};
use super::names::{is_key_of, key_of};

const FILE: &str = "config.json";
const MAX_FILE: u64 = 4 << 20;
/// Links from name to name, as the kernel's own limit.
const MAX_LINKS: usize = 40;

/// The file's content, and the path that users know it by.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    path: PathBuf,
    content: Map<String, Value>,
}

impl DockerConfig {
    /// Reads the file of a folder. One that does not exist is empty.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let mut text = Vec::new();
        match File::open(&path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => drop(read.map_err(Error::file("read", &path))?),
        }
        if text.len() as u64 > MAX_FILE {
            return Err(Error::Config { path, what: format!("it is longer than {MAX_FILE} bytes") });
        }
        if text.trim_ascii().is_empty() {
            return Ok(Self { path, content: Map::new() });
        }
        match serde_json::from_slice(&text) {
            Ok(content) => Ok(Self { path, content }),
            Err(source) => Err(Error::Json { path, source }),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The credential helper that keeps a registry's login, by its name after `docker-credential-`.
    pub fn helper(&self, registry: &str) -> Option<&str> {
        let own = self.content.get("credHelpers").and_then(Value::as_object).and_then(|helpers| {
            let exact = helpers.get(key_of(registry));
            exact.or_else(|| helpers.iter().find(|(key, _)| is_key_of(key, registry)).map(|(_, name)| name))
        });
        own.or_else(|| self.content.get("credsStore")).and_then(Value::as_str).filter(|name| !name.is_empty())
    }

    /// The login that the file itself has.
    pub fn credentials(&self, registry: &str) -> Result<Option<Credentials>> {
        let Some((key, entry)) = self.entry(registry) else { return Ok(None) };
        let mistake =
            |what: &str| Error::Config { path: self.path.clone(), what: format!("{what} of {key:?}") };
        let text = |name| entry.get(name).and_then(Value::as_str).filter(|text: &&str| !text.is_empty());
        let (user, password) = match text("auth") {
            Some(encoded) => credentials::decode(encoded)
                .ok_or_else(|| mistake("the \"auth\" is not user:password in base64"))?,
            None => (
                text("username").unwrap_or_default().to_owned(),
                Secret::new(text("password").unwrap_or_default()),
            ),
        };
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Credentials::Registry(Secret::new(token))));
        }
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credentials::Identity { user, token: Secret::new(token) }));
        }
        Ok((!user.is_empty()).then_some(Credentials::Password { user, password }))
    }

    /// Whether there is a key for a registry, with or without a login in it.
    pub fn has(&self, registry: &str) -> bool {
        self.entry(registry).is_some()
    }

    /// As docker wrote it, or as older clients did.
    fn entry(&self, registry: &str) -> Option<(&str, &Map<String, Value>)> {
        let logins = self.content.get("auths")?.as_object()?;
        let exact = logins.get_key_value(key_of(registry));
        let found = exact.or_else(|| logins.iter().find(|(key, _)| is_key_of(key, registry)))?;
        Some((found.0, found.1.as_object()?))
    }

    /// Sets a registry's login; `None` leaves the key alone, as docker does where a helper has the rest.
    fn set(&mut self, registry: &str, login: Option<&Credentials>) -> Result<()> {
        let path = &self.path;
        let logins = self.content.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        if logins.is_null() {
            *logins = Value::Object(Map::new());
        }
        let logins = logins
            .as_object_mut()
            .ok_or_else(|| Error::Config { path: path.clone(), what: "\"auths\" is no object".into() })?;
        let entry = match login {
            None => Map::new(),
            Some(login) => fields(login),
        };
        logins.insert(key_of(registry).to_owned(), Value::Object(entry));
        Ok(())
    }

    /// Forgets a registry's login, under whatever key.
    fn remove(&mut self, registry: &str) {
        if let Some(logins) = self.content.get_mut("auths").and_then(Value::as_object_mut) {
            logins.retain(|key, _| !is_key_of(key, registry));
        }
    }

    /// Puts the content in the file's place: whoever reads it finds the old one or the new one.
    fn save(&self) -> Result<()> {
        let target = follow(&self.path)?;
        let folder = target.parent().unwrap_or(Path::new("/"));
        let mut text = Vec::new();
        let mut serializer =
            serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
        self.content
            .serialize(&mut serializer)
            .map_err(|source| Error::Json { path: self.path.clone(), source })?;
        let temp = folder.join(format!(".{FILE}.{}", std::process::id()));
        let written = write(&temp, &target, &text);
        if written.is_err() {
            let _ = fs::remove_file(&temp);
        }
        written.map_err(Error::file("write", &target))
    }
}

/// An `auths` entry as docker writes it.
fn fields(login: &Credentials) -> Map<String, Value> {
    let (auth, token) = match login {
        Credentials::Password { user, password } => (Some(credentials::encode(user, password)), None),
        Credentials::Identity { user, token } => {
            let auth = (!user.is_empty()).then(|| credentials::encode(user, &Secret::new("")));
            (auth, Some(("identitytoken", token)))
        }
        Credentials::Registry(token) => (None, Some(("registrytoken", token))),
    };
    let auth = auth.map(|auth| ("auth".to_owned(), Value::from(auth)));
    let token = token.map(|(name, token)| (name.to_owned(), Value::from(token.reveal())));
    auth.into_iter().chain(token).collect()
}

/// Changes the file of a folder, while no other hull does.
fn change<T>(folder: &Path, act: impl FnOnce(&mut DockerConfig) -> Result<T>) -> Result<T> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(Error::file("create", folder))?;
    let opened = File::open(folder).map_err(Error::file("open", folder))?;
    let _locked = Flock::lock(opened, FlockArg::LockExclusive)
        .map_err(|(_, error)| Error::file("lock", folder)(error.into()))?;
    let mut config = DockerConfig::load(folder)?;
    let done = act(&mut config)?;
    config.save()?;
    Ok(done)
}

/// Stores a login in a folder's file; of one that a helper keeps, only that there is one.
pub fn store(folder: &Path, registry: &str, login: Option<&Credentials>) -> Result<()> {
    change(folder, |config| config.set(registry, login))
}

/// Removes a login from a folder's file.
pub fn erase(folder: &Path, registry: &str) -> Result<()> {
    if !DockerConfig::load(folder)?.has(registry) {
        return Ok(());
    }
    change(folder, |config| {
        config.remove(registry);
        Ok(())
    })
}

/// Where a link leads, also if there is nothing yet.
fn follow(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            // EINVAL: no link.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
                return Ok(path);
            }
            Err(error) => return Err(Error::file("follow the link", &path)(error)),
        }
    }
    Err(Error::file("follow the link", &path)(io::Error::from_raw_os_error(libc::ELOOP)))
}

fn write(temp: &Path, target: &Path, text: &[u8]) -> io::Result<()> {
    let opened = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(temp);
    let mut file = match opened() {
        // Of a process of that number, which was killed.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(temp)?;
            opened()?
        }
        other => other?,
    };
    // `sudo hull login` leaves the file with whom it belonged to.
    if let Ok(old) = fs::metadata(target) {
        std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))
            .or_else(|error| if error.kind() == ErrorKind::PermissionDenied { Ok(()) } else { Err(error) })?;
    }
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(temp, target)?;
    File::open(target.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
