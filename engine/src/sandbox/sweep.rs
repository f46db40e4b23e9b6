//! Clearing away after supervisors that were killed, and starting again what its policy wants to run.

use std::collections::HashMap;
use std::{fs, io};

use super::agent::socket_path;
use super::lock::SandboxLock;
use super::{END_LIMIT, cgroup, remove, socket};
use crate::container::config::Config;
use crate::container::create::Creating;
use crate::container::start::StartError;
use crate::container::{life, remove as container_remove, start};
use crate::context::Context;
use crate::store::db::states::Change;
use crate::store::{ContainerRow, ContainerState, SandboxRow, Store};
use crate::supervisor::chain;
use crate::volume;

/// The exit code of a container that was killed together with what ran it: as if by SIGKILL.
const KILLED: i32 = 137;

/// Of one that could not be started: docker's.
const FAILED: i32 = 128;

/// Ends every sandbox whose row claims to live and whose lock nobody holds, and starts the containers
/// again whose policy asks for it. Any command may do this at any time, several at once too: each step may
/// be repeated.
///
/// Returns those that run again.
pub fn dead(context: &Context, store: &Store) -> Vec<ContainerRow> {
    let sandboxes = store.db().sandboxes().unwrap_or_default();
    sandboxes.iter().flat_map(|sandbox| one(context, store, sandbox)).collect()
}

/// The same for one sandbox.
pub fn one(context: &Context, store: &Store, sandbox: &SandboxRow) -> Vec<ContainerRow> {
    let mut again = Vec::new();
    if_dead(store, &sandbox.id, || again = end(store, sandbox));
    in_order(&mut again);
    again.retain(|row| restart(context, store, row));
    again
}

/// Whose process namespace others share comes before them.
pub fn in_order(rows: &mut [ContainerRow]) {
    let shares: HashMap<String, String> = rows
        .iter()
        .filter_map(|row| Some((row.id.clone(), Config::from_row(row).ok()?.share.pid?)))
        .collect();
    let depth = |row: &ContainerRow| {
        std::iter::successors(shares.get(&row.id), |other| shares.get(*other)).take(shares.len()).count()
    };
    rows.sort_by_key(depth);
}

/// With the lock in hand, or without a folder to hold one in, nobody else can be alive. Where it cannot
/// be told, nothing is done.
fn if_dead(store: &Store, sandbox: &str, act: impl FnOnce()) {
    let _lock = match SandboxLock::attempt(&store.paths().sandbox(sandbox)) {
        Ok(Some(lock)) => Some(lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(None) | Err(_) => return,
    };
    act();
}

/// Ends a dead supervisor's sandbox in its place. The containers to be started again.
fn end(store: &Store, sandbox: &SandboxRow) -> Vec<ContainerRow> {
    // The row stays until nothing is left that it could help to find.
    if !cgroup::kill(&sandbox.id) {
        return Vec::new();
    }
    // Without cgroups the VMM or the agent ends by itself, its supervisor's socket having closed, and takes
    // its containers along. Its own socket is closed then.
    let socket = socket_path(&store.paths().run_sandbox(&sandbox.id));
    if !socket::wait_until_closed(&socket, END_LIMIT) {
        return Vec::new();
    }
    let rows = store.db().containers_of_sandbox(&sandbox.id).unwrap_or_default();
    let again = rows.into_iter().filter_map(|row| end_container(store, sandbox, &row)).collect();
    container_remove::sandbox(store, &sandbox.id);
    again
}

fn end_container(store: &Store, sandbox: &SandboxRow, row: &ContainerRow) -> Option<ContainerRow> {
    let config = Config::from_row(row).ok();
    // What was there before its sandbox, and has never run, was about to start or exported.
    let stays = row.state == ContainerState::Created && row.created != sandbox.created;
    let remove = !stays && config.as_ref().is_some_and(|config| config.remove);
    if row.state == ContainerState::Removing || remove {
        let _ = container_remove::ended(store, &row.id);
        return None;
    }
    let ran =
        matches!(row.state, ContainerState::Running | ContainerState::Paused | ContainerState::Restarting);
    if !ran {
        return None;
    }
    let error = "Its supervisor was killed, or the machine went down".to_string();
    let wanted = !row.stopped && config.is_some_and(|c| c.restart.wants(KILLED, row.restarts));
    if !wanted {
        let change = Change::Exited { exit_code: KILLED, oom_killed: false, error };
        let _ = store.db().change(&row.id, &change);
        return None;
    }
    // Whoever is killed between this and the start leaves a wish behind, for the next sweep.
    let change = Change::Restarting { exit_code: KILLED, oom_killed: false, error };
    if row.state == ContainerState::Restarting {
        Some(row.clone())
    } else {
        store.db().change(&row.id, &change).ok()
    }
}

/// Starts again what was about to be when its sweeper was killed.
pub fn unfinished(context: &Context, store: &Store) {
    let mut rows = store.db().containers_in(ContainerState::Restarting).unwrap_or_default();
    rows.retain(|row| row.sandbox.is_none());
    in_order(&mut rows);
    for row in &rows {
        restart(context, store, row);
    }
}

/// A start that does not work is recorded with the container; there is nobody to tell it here.
pub fn restart(context: &Context, store: &Store, row: &ContainerRow) -> bool {
    match start::existing(context, store, row) {
        Ok(mut supervised) => supervised.start().is_ok(),
        Err(error @ (StartError::Image(_) | StartError::Config(_) | StartError::Create(_))) => {
            let error = chain(&error);
            let _ = store.db().change(&row.id, &Change::StartFailed { exit_code: FAILED, error });
            false
        }
        // Somebody else was faster, or the machine is short of something: the next sweep tries again.
        Err(_) => false,
    }
}

/// Goes on with the removal of a pod's container, unless somebody is at it.
fn remove_member(store: &Store, row: &ContainerRow) {
    let busy = SandboxLock::attempt(&store.paths().container(&row.id)).is_ok_and(|lock| lock.is_none());
    if !busy {
        let _ = life::remove_member(store, row);
    }
}

/// Removes what has no container: folders and cgroups of somebody killed between making them and the
/// row, or after it went. Also goes on with removals that were cut short.
pub fn orphans(store: &Store) {
    for row in &store.db().containers_in(ContainerState::Removing).unwrap_or_default() {
        if row.pod.is_some() {
            remove_member(store, row);
        } else if row.sandbox.is_none() {
            if_dead(store, &row.id, || drop(container_remove::ended(store, &row.id)));
        }
    }
    // Their sandbox ended when the host's network could not be changed.
    for owner in &store.db().stranded().unwrap_or_default() {
        if_dead(store, owner, || container_remove::unplug(store, owner));
    }
    volume::sweep(store);
    let forsaken = without_rows(store);
    volume::options::remove_anonymous(store, &forsaken);
}

/// Folders and cgroups, as long as nobody is making some, which has to wait meanwhile: no plugin and no supervisor is
/// asked. The volumes that were to go with a container that is not there.
fn without_rows(store: &Store) -> Vec<String> {
    let Some(_alone) = Creating::nobody_is(&store.paths().sandboxes()) else { return Vec::new() };
    let (Ok(mut ids), Ok(pods)) = (store.db().container_ids(), store.db().pods()) else { return Vec::new() };
    ids.extend(pods.into_iter().map(|pod| pod.id));
    let known = |id: &str| ids.contains(id);
    let paths = store.paths();
    for parent in [paths.containers(), paths.sandboxes(), paths.run_sandboxes(), paths.all_run_secrets()] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !name.to_str().is_some_and(known) {
                cgroup::kill(&name.to_string_lossy());
                let _ = remove::tree(&entry.path());
            }
        }
    }
    cgroup::remove_abandoned(known);
    volume::catalog::forsaken(store, known)
}

#[cfg(test)]
mod tests;
