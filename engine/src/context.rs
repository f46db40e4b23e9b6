//! What every command needs to know.

use std::path::PathBuf;

use crate::config::Config;
use crate::registry::Settings;

#[derive(Debug)]
pub struct Context {
    pub root: PathBuf,
    pub run: PathBuf,
    pub config: Config,
    pub registries: Settings,
}
