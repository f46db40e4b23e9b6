//! What the keeper has: the store, opened when it is first needed, and what is recorded there.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;

use crate::container::remove;
use crate::sandbox::{self, LaunchError, Parts, Sandbox};
use crate::store::db::states::Change;
use crate::store::{self, ContainerState, EventKind, Store};
use crate::volume::attach;

pub struct Kept {
    root: PathBuf,
    run: PathBuf,
    store: OnceCell<Arc<Store>>,
}

impl Kept {
    pub fn new(root: PathBuf, run: PathBuf) -> Kept {
        Kept { root, run, store: OnceCell::new() }
    }

    /// For another thread with privileges, too.
    pub fn store(&self) -> Result<&Arc<Store>, store::Error> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = Arc::new(Store::open(&self.root, &self.run)?);
        Ok(self.store.get_or_init(|| store))
    }

    /// Starts the sandbox' process, with the volumes that are disks of its machine's.
    pub fn launch(&self, plan: &sandbox::Plan, parts: &Parts) -> Result<Sandbox, LaunchError> {
        let blocks = if plan.blocks.is_empty() {
            Vec::new()
        } else {
            let store = self.store().map_err(attach::AttachError::from);
            store.and_then(|store| attach::blocks(store, &plan.id, &plan.blocks)).map_err(Box::new)?
        };
        Sandbox::launch(plan, parts, blocks)
    }

    /// Records a change. What cannot be recorded is told in the supervisor's log: the container goes on.
    /// False: somebody removes it.
    pub fn change(&self, id: &str, change: &Change) -> bool {
        match self.store().and_then(|store| store.db().change(id, change)) {
            Ok(row) => row.state != ContainerState::Removing,
            Err(error) => {
                report("record a change of", id, &error);
                !matches!(error, store::Error::NotFound { .. })
            }
        }
    }

    pub fn event(&self, id: &str, action: &str, attributes: &[(&str, &str)]) {
        self.event_of(EventKind::Container, id, action, attributes);
    }

    pub fn event_of(&self, kind: EventKind, id: &str, action: &str, attributes: &[(&str, &str)]) {
        let recorded = self.store().and_then(|store| store.db().record_event(kind, action, id, attributes));
        if let Err(error) = recorded {
            report("record an event of", id, &error);
        }
    }

    /// A container's last word, and its removal if that was asked for; true if it is removed.
    pub fn finish(&self, id: &str, in_pod: bool, how: &Change, removed: bool) -> bool {
        let done = self.store().and_then(|store| {
            if removed {
                remove::concluded(store, id, in_pod, Some(how))
            } else {
                remove::kept(store, id, in_pod, how)
            }
        });
        if let Err(error) = &done {
            report("record the end of", id, error);
        }
        removed && done.is_ok()
    }

    /// The volumes of a sandbox that has ended.
    pub fn release_volumes(&self, sandbox: &str) {
        match self.store() {
            Ok(store) => remove::release(store, sandbox),
            Err(error) => report("unmount the volumes of", sandbox, &error),
        }
    }

    /// A container whose start nobody waits for any more. `volumes`: it may have some.
    pub fn abandon(&self, id: &str, removed: bool, volumes: bool) {
        if !removed {
            return self.end_sandbox(id);
        }
        if volumes {
            self.release_volumes(id);
        }
        if let Err(error) = self.store().and_then(|store| remove::concluded(store, id, false, None)) {
            report("remove", id, &error);
        }
    }

    /// The same in a pod, whose sandbox stays.
    pub fn abandon_member(&self, id: &str, removed: bool) {
        if removed && let Err(error) = self.store().and_then(|store| remove::concluded(store, id, true, None))
        {
            report("remove", id, &error);
        }
    }

    /// The sandbox's row and sockets go; whoever comes next finds nothing to sweep.
    pub fn end_sandbox(&self, id: &str) {
        match self.store() {
            Ok(store) => remove::sandbox(store, id),
            Err(error) => report("end", id, &error),
        }
    }
}

fn report(what: &str, id: &str, error: &dyn std::error::Error) {
    eprintln!("Failed to {what} {id}: {}", super::caller::chain(error));
}
