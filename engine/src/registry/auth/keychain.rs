//! Where logins are kept: in helpers, where docker's config.json names one, else in that file.

use std::path::{Path, PathBuf};

use super::config::{self, DockerConfig};
use super::credentials::Credentials;
use super::error::{Error, Result};
use super::helper::Helper;
use super::home;
use super::names::{is_key_of, key_of};
use crate::registry::Settings;
use crate::text::escape;

/// All logins of a user.
#[derive(Debug)]
pub struct Keychain {
    folder: PathBuf,
    config: DockerConfig,
}

/// Where a login was put.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    Helper,
    /// Whoever reads the file has it.
    File(PathBuf),
}

impl Keychain {
    pub fn open(settings: &Settings) -> Result<Self> {
        Self::of(&home::folder(settings)?)
    }

    fn of(folder: &Path) -> Result<Self> {
        Ok(Self { folder: folder.to_owned(), config: DockerConfig::load(folder)? })
    }

    pub fn get(&self, registry: &str) -> Result<Option<Credentials>> {
        match self.helper(registry)? {
            Some(helper) => helper.get(key_of(registry)),
            None => self.config.credentials(registry),
        }
    }

    pub fn store(&self, registry: &str, login: &Credentials) -> Result<Kept> {
        match self.helper(registry)? {
            Some(helper) => {
                helper.store(key_of(registry), login)?;
                config::store(&self.folder, registry, None)?;
                Ok(Kept::Helper)
            }
            None => {
                config::store(&self.folder, registry, Some(login))?;
                Ok(Kept::File(self.config.path().to_owned()))
            }
        }
    }

    /// Whether there was a login. All keys are removed that mean this registry.
    pub fn erase(&self, registry: &str) -> Result<bool> {
        let mut found = self.config.has(registry);
        if let Some(helper) = self.helper(registry)? {
            for key in helper.list()?.into_keys().filter(|key| is_key_of(key, registry)) {
                helper.erase(&key)?;
                found = true;
            }
        }
        config::erase(&self.folder, registry)?;
        Ok(found)
    }

    fn helper(&self, registry: &str) -> Result<Option<Helper>> {
        let Some(name) = self.config.helper(registry) else { return Ok(None) };
        let helper = Helper::named(name).ok_or_else(|| Error::Config {
            path: self.config.path().to_owned(),
            what: format!("\"{}\" is no credential helper's name", escape(name)),
        })?;
        Ok(Some(helper))
    }
}
