//! Clearing away after supervisors that were killed.

use std::fs;

use super::cgroup;
use super::lock::SandboxLock;
use crate::container::record::{self, Config, Creating};
use crate::store::{SandboxRow, Store};

/// The exit code of a container whose supervisor was killed: as if by SIGKILL.
const KILLED: i32 = 137;

/// Ends every sandbox whose row claims to live and whose lock nobody holds. Any command may do this at
/// any time, several at once too: each step may be repeated.
pub fn dead(store: &Store) {
    for row in store.db().sandboxes().unwrap_or_default() {
        match SandboxLock::attempt(&store.paths().sandbox(&row.id)) {
            Ok(None) => {}
            // With the lock in hand, or without a folder to hold one in, nobody else can be alive.
            Ok(Some(_)) | Err(_) => end(store, &row),
        }
    }
}

fn end(store: &Store, sandbox: &SandboxRow) {
    cgroup::kill(&sandbox.id);
    for container in store.db().containers_of_sandbox(&sandbox.id).unwrap_or_default() {
        let config = serde_json::from_str::<Config>(&container.config);
        let remove = config.is_ok_and(|config| config.remove);
        record::finish(store, &container.id, remove, KILLED);
    }
    record::remove_run_folder(store, &sandbox.id);
    let _ = store.db().remove_sandbox(&sandbox.id);
}

/// Removes sandboxes' folders that have no container: killed between making one and its row.
pub fn orphans(store: &Store) {
    let Some(_alone) = Creating::nobody_is(&store.paths().sandboxes()) else { return };
    let Ok(rows) = store.db().containers() else { return };
    for parent in [store.paths().sandboxes(), store.paths().run_sandboxes()] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let known = rows.iter().any(|row| Some(row.id.as_str()) == name.to_str());
            if !known {
                cgroup::kill(&name.to_string_lossy());
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}
