//! Drivers that hull does not have itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("error looking up volume plugin {name}: plugin {name:?} not found")]
    NotFound { name: String },
}

impl PluginError {
    pub fn is_answer(&self) -> bool {
        false
    }
}

pub enum Plugin {}

impl Plugin {
    pub fn find(name: &str) -> Result<Self, PluginError> {
        Err(PluginError::NotFound { name: name.to_owned() })
    }

    pub fn create(&self, _: &str, _: &BTreeMap<String, String>) -> Result<(), PluginError> {
        match *self {}
    }

    pub fn remove(&self, _: &str) -> Result<(), PluginError> {
        match *self {}
    }

    pub fn mount(&self, _: &str, _: &str) -> Result<PathBuf, PluginError> {
        match *self {}
    }

    pub fn unmount(&self, _: &str, _: &str) -> Result<(), PluginError> {
        match *self {}
    }

    pub fn path(&self, _: &str) -> Result<PathBuf, PluginError> {
        match *self {}
    }
}
