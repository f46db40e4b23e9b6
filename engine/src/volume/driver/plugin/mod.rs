//! Volume plugins: drivers in processes of their own, by docker's plugin protocol.
//!
//! hull finds a plugin by its name ([`places`]) and calls it over a unix socket ([`http`]): HTTP, one POST with a JSON
//! object a call. What a plugin answers is checked before it is used ([`answers`]): it may be the administrator's, and
//! still be wrong.

mod answers;
mod http;
mod places;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use answers::{Scope, Volume};
pub use places::names;

use self::answers::{Activated, Found, Listed, Mountpoint, Said, Scoped};
use self::http::Socket;
use crate::text::escape;

/// For what looks something up.
const LOOK: Duration = Duration::from_secs(10);
/// For what makes or mounts something, docker's.
const WORK: Duration = Duration::from_secs(120);
/// Of its words in an error.
const MAX_SAID: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("error looking up volume plugin {name}: plugin {name:?} not found")]
    NotFound { name: String },
    #[error("Failed to read where volume plugin {name} is ({})", .path.display())]
    Place { name: String, path: PathBuf, source: std::io::Error },
    #[error(
        "Volume plugin {name} is at {address}, and hull talks to plugins over unix sockets only (unix://)"
    )]
    Address { name: String, address: String },
    #[error("error looking up volume plugin {name}: plugin is no volume driver")]
    NoVolumes { name: String },
    #[error("{call}: volume plugin {plugin} does not answer ({})", .socket.display())]
    Silent { plugin: String, call: &'static str, socket: PathBuf, source: Box<ureq::Error> },
    #[error("{call}: {said}")]
    Said { call: &'static str, said: String },
    #[error("{call}: volume plugin {plugin} answers {why}")]
    Answer { plugin: String, call: &'static str, why: String },
}

impl PluginError {
    /// Whether the plugin has been asked and has answered.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Said { .. } | Self::Answer { .. })
    }
}

/// One that is there and has volumes.
pub struct Plugin {
    name: String,
    socket: Socket,
}

impl Plugin {
    pub fn find(name: &str) -> Result<Self, PluginError> {
        let plugin = Self { name: name.to_owned(), socket: Socket::new(places::find(name)?) };
        let activated: Activated = plugin.ask("Plugin.Activate", json!({}), LOOK)?;
        if !activated.implements.iter().any(|word| word == "VolumeDriver") {
            return Err(PluginError::NoVolumes { name: name.to_owned() });
        }
        Ok(plugin)
    }

    pub fn create(&self, volume: &str, options: &BTreeMap<String, String>) -> Result<(), PluginError> {
        // Docker's plugins know no options as null.
        let options = (!options.is_empty()).then_some(options);
        self.tell("VolumeDriver.Create", json!({"Name": volume, "Opts": options}), WORK)
    }

    pub fn remove(&self, volume: &str) -> Result<(), PluginError> {
        self.tell("VolumeDriver.Remove", json!({"Name": volume}), WORK)
    }

    /// Where it has mounted the volume, for a sandbox.
    pub fn mount(&self, volume: &str, sandbox: &str) -> Result<PathBuf, PluginError> {
        const CALL: &str = "VolumeDriver.Mount";
        let answer: Mountpoint = self.ask(CALL, json!({"Name": volume, "ID": sandbox}), WORK)?;
        answer.path().map_err(|why| self.wrong(CALL, why))
    }

    pub fn unmount(&self, volume: &str, sandbox: &str) -> Result<(), PluginError> {
        self.tell("VolumeDriver.Unmount", json!({"Name": volume, "ID": sandbox}), LOOK)
    }

    pub fn path(&self, volume: &str) -> Result<PathBuf, PluginError> {
        const CALL: &str = "VolumeDriver.Path";
        let answer: Mountpoint = self.ask(CALL, json!({"Name": volume}), LOOK)?;
        answer.path().map_err(|why| self.wrong(CALL, why))
    }

    /// None: it has no such volume, or will not tell.
    pub fn get(&self, volume: &str) -> Result<Option<Volume>, PluginError> {
        const CALL: &str = "VolumeDriver.Get";
        match self.ask::<Found>(CALL, json!({"Name": volume}), LOOK) {
            Ok(found) => match found.volume {
                Some(found) if found.name == volume => {
                    found.checked().map(Some).map_err(|why| self.wrong(CALL, why))
                }
                Some(_) => Err(self.wrong(CALL, "another volume than it was asked for".to_owned())),
                None => Ok(None),
            },
            Err(PluginError::Said { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Its volumes whose names could be hull's.
    pub fn list(&self) -> Result<Vec<Volume>, PluginError> {
        let listed: Listed = self.ask("VolumeDriver.List", json!({}), LOOK)?;
        let named = |volume: &Volume| crate::volume::catalog::check_name(&volume.name).is_ok();
        Ok(listed
            .volumes
            .unwrap_or_default()
            .into_iter()
            .filter(named)
            .filter_map(|v| v.checked().ok())
            .collect())
    }

    /// Docker's: what a plugin does not tell is local.
    pub fn scope(&self) -> Result<Scope, PluginError> {
        match self.ask::<Scoped>("VolumeDriver.Capabilities", json!({}), LOOK) {
            Ok(scoped) => Ok(scoped.scope()),
            Err(error) if error.is_answer() => Ok(Scope::Local),
            Err(error) => Err(error),
        }
    }

    /// All that it tells of one, as far as it tells anything.
    pub fn look(&self, volume: &str) -> Option<(Scope, Option<Volume>)> {
        Some((self.scope().ok()?, self.get(volume).ok()?))
    }

    fn tell(&self, call: &'static str, body: Value, limit: Duration) -> Result<(), PluginError> {
        self.ask::<serde::de::IgnoredAny>(call, body, limit).map(drop)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        call: &'static str,
        body: Value,
        limit: Duration,
    ) -> Result<T, PluginError> {
        let (plugin, socket) = (self.name.clone(), self.socket.path().to_owned());
        let answer = self.socket.post(call, &body, limit);
        let answer = answer.map_err(|source| PluginError::Silent {
            plugin,
            call,
            socket,
            source: Box::new(source),
        })?;
        // An error has the same form, whatever the status.
        let said = serde_json::from_slice::<Said>(&answer.body).unwrap_or_default().words;
        if !said.is_empty() {
            return Err(PluginError::Said { call, said: shortened(&said) });
        }
        if !answer.is_success {
            let text = shortened(String::from_utf8_lossy(&answer.body).trim());
            return Err(
                self.wrong(call, format!("with status {} {text}", answer.status).trim_end().to_owned())
            );
        }
        // A plugin that has nothing to say may say nothing.
        let body = if answer.body.trim_ascii().is_empty() { b"{}" } else { answer.body.as_slice() };
        serde_json::from_slice(body)
            .map_err(|error| self.wrong(call, format!("what is not docker's protocol: {error}")))
    }

    fn wrong(&self, call: &'static str, why: String) -> PluginError {
        PluginError::Answer { plugin: self.name.clone(), call, why }
    }
}

/// Its own words, fit to be shown.
fn shortened(said: &str) -> String {
    escape(said.chars().take(MAX_SAID).collect::<String>().as_str()).to_string()
}

#[cfg(test)]
pub(in crate::volume) mod tests;
