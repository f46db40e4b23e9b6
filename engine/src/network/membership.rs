//! `network connect` and `disconnect`: a sandbox's endpoints after it was made.

use super::model::{EndpointRow, HOST, Mode, NONE, Networking};
use super::options::{self, Wish, most_endpoints};
use super::{NetworkError, attach, catalog};
use crate::container::config::Config;
use crate::pod;
use crate::sandbox::mode::Isolation;
use crate::store::db::states::Change;
use crate::store::{ContainerRow, Kind, Store};
use crate::supervisor::control::{Call, EndpointArgs};

/// Who is to be connected: a container with a sandbox of its own, or a pod.
struct Member {
    id: String,
    name: String,
    isolation: Isolation,
    networking: Networking,
    /// None: a pod.
    container: Option<ContainerRow>,
}

impl Member {
    /// Docker knows no pods: a container of this name comes first.
    fn find(store: &Store, wanted: &str) -> Result<Member, NetworkError> {
        let row = match store.db().container(wanted) {
            Err(error) if error.kind() == Kind::NotFound => {
                return Member::find_pod(store, wanted)?.ok_or(error.into());
            }
            row => row?,
        };
        if let Some(pod) = &row.pod {
            let pod = store.db().pod(pod)?.name;
            return Err(NetworkError::PodMember { container: row.name, pod });
        }
        let networking = Config::from_row(&row)?.network;
        let (id, name, isolation) = (row.id.clone(), row.name.clone(), row.mode);
        Ok(Member { id, name, isolation, networking, container: Some(row) })
    }

    fn find_pod(store: &Store, wanted: &str) -> Result<Option<Member>, NetworkError> {
        let row = match store.db().pod(wanted) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            row => row?,
        };
        let networking = pod::Config::from_row(&row)?.network;
        Ok(Some(Member { id: row.id, name: row.name, isolation: row.mode, networking, container: None }))
    }

    /// Whether its sandbox lives, and so its supervisor has to be told.
    fn is_up(&self, store: &Store) -> Result<bool, NetworkError> {
        Ok(store.db().sandbox(&self.id)?.is_some())
    }
}

/// Connects a container or pod to a network; one that is up at once. `links`: other containers and what they
/// are called there.
pub fn connect(
    store: &Store,
    container: &str,
    wish: Wish,
    links: &[(String, String)],
) -> Result<(), NetworkError> {
    catalog::ensure_defaults(store, super::host_prefixes)?;
    let network = store.db().network(&wish.network)?;
    let member = Member::find(store, container)?;
    match (network.name.as_str(), member.networking.mode) {
        (HOST, _) => return Err(NetworkError::HostNetwork),
        (_, Mode::Host) => return Err(NetworkError::Shared),
        (NONE, _) | (_, Mode::None) => return Err(NetworkError::Private),
        (_, Mode::Networks) => {}
    }
    let wish = Wish { network: network.id, ..wish };
    let mut row = options::endpoint(store, &member.id, member.isolation, &member.networking, wish)?;
    row.settings.links.extend(options::links(store, &row, links)?);
    let row = store.db().add_endpoint(&row, most_endpoints(member.isolation))?;
    if !member.is_up(store)? {
        return Ok(());
    }
    let call = Call::Connect(EndpointArgs { endpoint: row.id.clone() });
    match pod::client(store, &member.id).done(&call) {
        // It ended meanwhile: its next start makes the endpoint.
        Err(error) if !error.is_gone() => {
            attach::forget(store, &row)?;
            Err(error.into())
        }
        _ => Ok(()),
    }
}

/// Takes a container or pod from a network. `force`: whatever its supervisor says.
pub fn disconnect(store: &Store, network: &str, container: &str, force: bool) -> Result<(), NetworkError> {
    catalog::ensure_defaults(store, super::host_prefixes)?;
    let network = store.db().network(network)?;
    let member = Member::find(store, container)?;
    let not_connected =
        || NetworkError::NotConnected { container: member.name.clone(), network: network.name.clone() };
    match (network.name.as_str(), member.networking.mode) {
        (HOST, Mode::Host) => return Err(NetworkError::HostNetwork),
        (NONE, Mode::None) => return open(store, &member),
        _ => {}
    }
    let endpoints = store.db().endpoints_of(&member.id)?;
    let row = endpoints.into_iter().find(|row| row.network == network.id).ok_or_else(not_connected)?;
    if member.is_up(store)? {
        let call = Call::Disconnect(EndpointArgs { endpoint: row.id.clone() });
        match pod::client(store, &member.id).done(&call) {
            // One that never came to be has nothing that the supervisor would know of.
            Err(error) if !error.is_gone() && !force && is_live(store, &row)? => return Err(error.into()),
            _ => {}
        }
    }
    attach::forget(store, &row)
}

fn is_live(store: &Store, endpoint: &EndpointRow) -> Result<bool, NetworkError> {
    let rows = store.db().endpoints_of(&endpoint.owner)?;
    Ok(rows.iter().any(|row| row.id == endpoint.id && row.live.is_some()))
}

/// Makes of a container that is to have no network one that is on none yet.
fn open(store: &Store, member: &Member) -> Result<(), NetworkError> {
    let not_connected =
        || NetworkError::NotConnected { container: member.name.clone(), network: NONE.to_owned() };
    let row = member.container.as_ref().ok_or_else(not_connected)?;
    if member.is_up(store)? {
        return Err(NetworkError::RunsAlone(row.name.clone()));
    }
    let mut config = Config::from_row(row)?;
    config.network.mode = Mode::Networks;
    store.db().change(&row.id, &Change::Config { json: config.to_row() })?;
    Ok(())
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
