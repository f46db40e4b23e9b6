//! What users do to containers that exist: start, stop, kill, wait, pause, rename, remove.

use std::time::Duration;

use hull_guest::protocol::{ContainerArgs, ErrorKind, SignalArgs};

use super::config::Config;
use super::names;
use super::remove;
use super::start::{self, StartError};
use crate::context::Context;
use crate::image::gc;
use crate::sandbox::lock::SandboxLock;
use crate::sandbox::sweep;
use crate::store::db::states::Change;
use crate::store::{self, ContainerRow, ContainerState, EventKind, Kind, Store};
use crate::supervisor::client::{ClientError, exited};
use crate::supervisor::control::{Call, StopArgs, Until};
use crate::supervisor::launch::SpawnError;
use crate::volume;

const SIGKILL: u8 = 9;
/// What a supervisor may take from its last word to its end.
const END_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Name(#[from] names::BadName),
    #[error("Container {0} is not running")]
    NotRunning(String),
    #[error("Container {0} is not paused")]
    NotPaused(String),
    #[error("Container {0} is paused already")]
    Paused(String),
    #[error("Container {0} is paused; unpause it before you remove it, or use rm -f")]
    RemovePaused(String),
    #[error("Container {0} is running; stop it first, or kill it with rm -f")]
    RemoveRunning(String),
    #[error("Container {0} has this name already")]
    SameName(String),
}

type Result<T> = std::result::Result<T, LifeError>;

/// Whether it has a process, or is about to.
pub fn is_up(row: &ContainerRow) -> bool {
    matches!(row.state, ContainerState::Running | ContainerState::Paused | ContainerState::Restarting)
}

fn args(row: &ContainerRow) -> ContainerArgs {
    ContainerArgs { container: row.id.clone() }
}

/// Starts it, if it does not run. Nobody is attached.
pub fn start(context: &Context, store: &Store, row: &ContainerRow) -> Result<()> {
    if is_up(row) {
        return Ok(());
    }
    let mut supervised = match start::existing(context, store, row) {
        // Somebody else was faster.
        Err(StartError::Spawn(SpawnError::Alive(_))) if is_up(&store.db().container(&row.id)?) => {
            return Ok(());
        }
        other => other?,
    };
    supervised.start().map_err(StartError::from)?;
    Ok(())
}

/// Asks it to end; one that does not run has.
pub fn stop(store: &Store, row: &ContainerRow, signal: Option<u8>, timeout: Option<i64>) -> Result<()> {
    if !is_up(row) {
        return Ok(());
    }
    let call = Call::Stop(StopArgs { container: row.id.clone(), signal, timeout_seconds: timeout });
    match start::client(store, row).done_whenever(&call) {
        // It ended of itself meanwhile, and its supervisor with it.
        Err(error) if error.is_gone() => {}
        other => other?,
    }
    record(store, row, "stop", &[]);
    Ok(())
}

pub fn restart(
    context: &Context,
    store: &Store,
    row: &ContainerRow,
    signal: Option<u8>,
    timeout: Option<i64>,
) -> Result<()> {
    let call = Call::Restart(StopArgs { container: row.id.clone(), signal, timeout_seconds: timeout });
    if is_up(row) {
        match start::client(store, row).done_whenever(&call) {
            Err(error) if error.is_gone() => start(context, store, &store.db().container(&row.id)?)?,
            other => other?,
        }
    } else {
        start(context, store, row)?;
    }
    record(store, row, "restart", &[]);
    Ok(())
}

pub fn kill(store: &Store, row: &ContainerRow, signal: u8) -> Result<()> {
    let call = Call::Kill(SignalArgs { container: row.id.clone(), signal });
    let killed = start::client(store, row).done_whenever(&call);
    match killed {
        Ok(()) => {}
        // But for one whose start waits for its volumes, and was called off.
        Err(_) if !is_up(row) => return Err(LifeError::NotRunning(row.name.clone())),
        Err(error) if error.is_gone() && signal == SIGKILL => {}
        Err(error) => return Err(error.into()),
    }
    record(store, row, "kill", &[("signal", &signal.to_string())]);
    Ok(())
}

/// Its exit code, when it has ended.
pub fn wait(context: &Context, store: &Store, row: &ContainerRow) -> Result<i32> {
    if is_up(row) || row.state == ContainerState::Created {
        let waiting = start::client(store, row).wait_begin(&row.id, Until::NotRunning, None);
        match waiting.and_then(|waiting| exited(&waiting)) {
            Ok(exit) => return Ok(exit.code),
            // The latter of a pod.
            Err(error) if error.is_gone() || error.kind() == Some(ErrorKind::NoContainer) => {
                settle(context, store, row);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(store.db().container(&row.id)?.exit_code)
}

/// What a supervisor that does not answer any more has begun to say is said: by itself, or in its place.
fn settle(context: &Context, store: &Store, row: &ContainerRow) {
    let running = store.db().container(&row.id).is_ok_and(|row| is_up(&row));
    // A pod's lives on.
    if running && row.pod.is_none() {
        // Without a folder there is nobody to wait for.
        let _ = SandboxLock::wait(&store.paths().sandbox(&row.id), END_LIMIT, || ());
    }
    sweep::dead(context, store);
}

pub fn pause(store: &Store, row: &ContainerRow) -> Result<()> {
    match row.state {
        ContainerState::Running => Ok(start::client(store, row).done(&Call::Pause(args(row)))?),
        ContainerState::Paused => Err(LifeError::Paused(row.name.clone())),
        _ => Err(LifeError::NotRunning(row.name.clone())),
    }
}

pub fn unpause(store: &Store, row: &ContainerRow) -> Result<()> {
    match row.state {
        ContainerState::Paused => Ok(start::client(store, row).done(&Call::Resume(args(row)))?),
        _ => Err(LifeError::NotPaused(row.name.clone())),
    }
}

pub fn rename(store: &Store, row: &ContainerRow, name: &str) -> Result<()> {
    names::check(name)?;
    if row.name == name {
        return Err(LifeError::SameName(row.name.clone()));
    }
    store.db().change(&row.id, &Change::Renamed { name: name.to_string() })?;
    Ok(())
}

/// How a container is to be removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Removal {
    /// One that runs is killed first.
    pub force: bool,
    /// The volumes that it did not name go, too.
    pub volumes: bool,
}

pub fn remove(store: &Store, row: &ContainerRow, how: Removal) -> Result<()> {
    if !how.force {
        match row.state {
            ContainerState::Running | ContainerState::Restarting => {
                return Err(LifeError::RemoveRunning(row.name.clone()));
            }
            ContainerState::Paused => return Err(LifeError::RemovePaused(row.name.clone())),
            _ => {}
        }
    }
    let own = match Config::from_row(row) {
        Ok(config) if how.volumes => volume::options::anonymous(&config.volumes),
        _ => Vec::new(),
    };
    match remove_ending(store, row) {
        // Its supervisor was faster, with --rm.
        Err(LifeError::Store(error)) if error.kind() == Kind::NotFound => {}
        other => other?,
    }
    volume::options::remove_anonymous(store, &own);
    if store.db().is_forsaken(&row.image)? {
        // The container is gone either way; what cannot be collected now waits for the next collection.
        let _ = gc::collect(store);
    }
    Ok(())
}

fn remove_ending(store: &Store, row: &ContainerRow) -> Result<()> {
    if row.state != ContainerState::Removing {
        store.db().change(&row.id, &Change::Removing)?;
    }
    let row = store.db().container(&row.id)?;
    if row.pod.is_some() { remove_member(store, &row) } else { Ok(remove::whole(store, &row)?) }
}

/// Takes a container that is to be removed out of its pod, whose others live on.
pub fn remove_member(store: &Store, row: &ContainerRow) -> Result<()> {
    let _alone = remove::lock_member(store, &row.id)?;
    let client = start::client(store, row);
    let container = row.id.clone();
    let kill = StopArgs { container, signal: Some(SIGKILL), timeout_seconds: Some(0) };
    for let_go in [Call::Stop(kill), Call::Forget(args(row))] {
        match client.done_whenever(&let_go) {
            Ok(()) => {}
            // The pod does not live, or has not heard of it.
            Err(error) if error.is_gone() || error.kind() == Some(ErrorKind::NoContainer) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(remove::discard(store, &row.id, true, None)?)
}

fn record(store: &Store, row: &ContainerRow, action: &str, attributes: &[(&str, &str)]) {
    // What it tells of is done, whether it is told or not.
    let _ = store.db().record_event(EventKind::Container, action, &row.id, attributes);
}
