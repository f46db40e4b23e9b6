//! What the process gives up before the guest's first instruction, for good.
//!
//! A guest that takes over this process finds: a user of its own, no capability and no way to gain
//! one, an empty read-only root, no network, no keys, and no descriptors but the machine's. As root that is
//! done directly; without root, inside a user namespace of its own.

mod namespaces;
mod privileges;

use std::io;

use crate::config::JailConfig;

#[derive(Debug, thiserror::Error)]
pub enum JailError {
    #[error("Failed to leave the host's namespaces{}", .hint)]
    Unshare { hint: &'static str, source: io::Error },
    #[error("Failed to write {path}")]
    IdMap { path: &'static str, source: io::Error },
    #[error("Failed to {action}")]
    Root { action: &'static str, source: io::Error },
    #[error("Failed to {action}")]
    Privilege { action: &'static str, source: io::Error },
}

/// Confines the process. It must still have a single thread, and everything it will ever open must be
/// open.
pub fn enter(config: &JailConfig) -> Result<(), JailError> {
    namespaces::leave(config)?;
    namespaces::empty_root()?;
    privileges::limit_resources()?;
    privileges::leave_keyring()?;
    privileges::drop(config)
}
