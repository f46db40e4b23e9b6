//! `hull top`.

use hull_guest::protocol::ProcessInfo;

use super::reach::{self, Reached};
use super::start;
use crate::context::Context;
use crate::store::{self, ContainerState, Store};
use crate::supervisor::client::ClientError;

#[derive(Debug, thiserror::Error)]
pub enum TopError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("Container {0} is not running")]
    NotRunning(String),
    #[error("Container {0} is restarting, wait until the container is running")]
    Restarting(String),
}

impl Reached for TopError {
    fn client(&self) -> Option<&ClientError> {
        match self {
            TopError::Client(error) => Some(error),
            _ => None,
        }
    }
}

/// A container's processes, by number. Their names and commands are the container's words.
pub fn processes(context: &Context, store: &Store, name: &str) -> Result<Vec<ProcessInfo>, TopError> {
    reach::container(context, store, name, |row| match row.state {
        ContainerState::Running | ContainerState::Paused => Ok(start::client(store, row).processes(&row.id)?),
        ContainerState::Restarting => Err(TopError::Restarting(row.name.clone())),
        ContainerState::Created
        | ContainerState::Removing
        | ContainerState::Exited
        | ContainerState::Dead => Err(TopError::NotRunning(row.name.clone())),
    })
}
