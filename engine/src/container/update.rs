//! `hull update`: other limits for a container, whether it runs or not.

use hull_guest::protocol::Resources;

use super::config::{Config, UnreadableConfig};
use super::limits::{self, LimitError};
use super::reach::{self, Reached};
use super::restart::RestartPolicy;
use super::{life, start};
use crate::context::Context;
use crate::store::{self, Change, ContainerRow, Store};
use crate::supervisor::client::ClientError;
use crate::supervisor::control::{self, Call};

#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("Cannot update container {name}")]
    Limit { name: String, source: LimitError },
    #[error("Cannot update container {name}")]
    Client { name: String, source: ClientError },
    #[error(transparent)]
    Config(#[from] UnreadableConfig),
    #[error("Container {0} is removed when it ends (--rm), so it cannot have a restart policy")]
    Removed(String),
}

impl Reached for UpdateError {
    fn client(&self) -> Option<&ClientError> {
        match self {
            UpdateError::Client { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Changes what is named.
pub fn update(
    context: &Context,
    store: &Store,
    name: &str,
    new: &Resources,
    restart: Option<RestartPolicy>,
) -> Result<(), UpdateError> {
    reach::container(context, store, name, |row| attempt(store, row, new, restart))
}

fn attempt(
    store: &Store,
    row: &ContainerRow,
    new: &Resources,
    restart: Option<RestartPolicy>,
) -> Result<(), UpdateError> {
    let name = || row.name.clone();
    let mut config = Config::from_row(row)?;
    limits::check_update(&config.resources, new)
        .map_err(|source| UpdateError::Limit { name: name(), source })?;
    if config.remove && restart.is_some_and(|policy| policy != RestartPolicy::No) {
        return Err(UpdateError::Removed(name()));
    }
    if life::is_up(row) {
        let args = control::UpdateArgs { container: row.id.clone(), resources: new.clone(), restart };
        let done = start::client(store, row).done(&Call::Update(Box::new(args)));
        return done.map_err(|source| UpdateError::Client { name: name(), source });
    }
    config.update(new.clone(), restart);
    store.db().change(&row.id, &Change::Config { json: config.to_row() })?;
    Ok(())
}
