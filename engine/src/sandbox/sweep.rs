//! Clearing away after supervisors that were killed.

use std::{fs, io};

use super::lock::SandboxLock;
use super::{cgroup, remove};
use crate::container::record::{self, Config, Creating, KILLED};
use crate::store::{ContainerState, SandboxRow, Store};

/// Ends every sandbox whose row claims to live and whose lock nobody holds. Any command may do this at
/// any time, several at once too: each step may be repeated.
pub fn dead(store: &Store) {
    for row in store.db().sandboxes().unwrap_or_default() {
        if_dead(store, &row.id, || end(store, &row));
    }
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

fn end(store: &Store, sandbox: &SandboxRow) {
    // The row stays until nothing is left that it could help to find.
    if !cgroup::kill(&sandbox.id) {
        return;
    }
    for container in store.db().containers_of_sandbox(&sandbox.id).unwrap_or_default() {
        let config = serde_json::from_str::<Config>(&container.config);
        let remove = container.state == ContainerState::Removing || config.is_ok_and(|config| config.remove);
        record::finish(store, &container.id, remove, i32::from(KILLED));
    }
    record::remove_run_folder(store, &sandbox.id);
    let _ = store.db().remove_sandbox(&sandbox.id);
}

/// Removes what has no container: folders and cgroups of somebody killed between making them and the
/// row, or after it went. Also goes on with removals that were cut short.
pub fn orphans(store: &Store) {
    let Some(_alone) = Creating::nobody_is(&store.paths().sandboxes()) else { return };
    let Ok(rows) = store.db().containers() else { return };
    for row in rows.iter().filter(|row| row.state == ContainerState::Removing && row.sandbox.is_none()) {
        if_dead(store, &row.id, || drop(record::remove_ended(store, &row.id)));
    }
    let known = |id: &str| rows.iter().any(|row| row.id == id);
    for parent in [store.paths().sandboxes(), store.paths().run_sandboxes()] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !name.to_str().is_some_and(known) {
                cgroup::kill(&name.to_string_lossy());
                let _ = remove::tree(&entry.path());
            }
        }
    }
    cgroup::remove_abandoned(known);
}

#[cfg(test)]
mod tests;
