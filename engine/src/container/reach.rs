//! From a container's name to its supervisor.

use crate::context::Context;
use crate::sandbox::sweep;
use crate::store::{self, ContainerRow, Store};
use crate::supervisor::client::ClientError;

/// An error that may be the supervisor's.
pub trait Reached: From<store::Error> {
    fn client(&self) -> Option<&ClientError>;
}

/// Does something with the supervisor of a container. One that cannot be reached was killed, or has just
/// ended: after a sweep the row says which, or the container runs again. So nobody else has to sweep.
pub fn container<T, E: Reached>(
    context: &Context,
    store: &Store,
    name: &str,
    act: impl Fn(&ContainerRow) -> Result<T, E>,
) -> Result<T, E> {
    match act(&store.db().container(name)?) {
        Err(error) if matches!(error.client(), Some(ClientError::Connect { .. })) => {
            sweep::dead(context, store);
            act(&store.db().container(name)?)
        }
        other => other,
    }
}
