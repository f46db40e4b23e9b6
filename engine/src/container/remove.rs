//! The end of a container's record: what is removed, in an order that a crash anywhere leaves to be told.
//!
//! Rows go after folders: what cannot be removed keeps its row, as removing, and every sweep tries again.

use std::io;
use std::time::Duration;

use super::config::Config;
use super::start;
use crate::network;
use crate::sandbox::lock::SandboxLock;
use crate::sandbox::{cgroup, remove};
use crate::store::db::states::Change;
use crate::store::{self, ContainerRow, ContainerState, Store};
use crate::supervisor::chain;
use crate::supervisor::control::{Call, StopArgs};
use crate::volume::{driver, options};

const SIGKILL: u8 = 9;
/// What the supervisor of a container that was killed may take to clear away after it.
const END_LIMIT: Duration = Duration::from_secs(30);

/// Removes a container that does not run, or whose sandbox is to die with it.
pub fn whole(store: &Store, row: &ContainerRow) -> Result<(), store::Error> {
    // Said first, so that its supervisor knows what ends it, and sweeps that it is to go.
    if row.state != ContainerState::Removing {
        store.db().change(&row.id, &Change::Removing)?;
    }
    if row.pod.is_none() {
        // Between two runs there may be nothing to kill, and it would go on resting.
        let (container, signal) = (row.id.clone(), Some(SIGKILL));
        let stop = StopArgs { container, signal, timeout_seconds: Some(0) };
        start::client(store, row).tell(&Call::Stop(stop));
    }
    // A pod's sandbox lives on; the caller has taken the container out of it.
    let _lock = if row.pod.is_none() { end(store, &row.id)? } else { None };
    ended(store, &row.id)
}

/// Ends what lives of a sandbox, and holds its lock then.
pub fn end(store: &Store, sandbox: &str) -> Result<Option<SandboxLock>, store::Error> {
    let dir = store.paths().sandbox(sandbox);
    // Again and again: while it starts there may not be anything to kill yet.
    let kill = || cgroup::kill(sandbox);
    let failed = |what, source| Err(store::Error::io(what, &dir, source));
    let lock = match SandboxLock::wait(&dir, END_LIMIT, kill) {
        Ok(Some(lock)) => Some(lock),
        Ok(None) => return failed("wait for the sandbox to end in", io::ErrorKind::TimedOut.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return failed("lock", source),
    };
    // A supervisor that was killed meanwhile did not do it.
    if !kill() {
        return failed("end the processes of", io::ErrorKind::ResourceBusy.into());
    }
    Ok(lock)
}

/// Removes a container that has ended. Its sandbox's lock is in the caller's hand, or there is no folder
/// left to lock. One of a pod, whose sandbox lives on, is removed by one process at a time: who comes second
/// leaves it to the first.
pub fn ended(store: &Store, id: &str) -> Result<(), store::Error> {
    match store.db().container(id) {
        Ok(row) => {
            if row.pod.is_none() {
                release(store, id);
            }
            concluded(store, id, row.pod.is_some(), None)
        }
        Err(error) if error.kind() == store::Kind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The same for one that has just ended, and how.
pub fn concluded(store: &Store, id: &str, in_pod: bool, how: Option<&Change>) -> Result<(), store::Error> {
    if !in_pod {
        return discard(store, id, false, how);
    }
    let folder = store.paths().container(id);
    match SandboxLock::attempt(&folder) {
        Ok(Some(_alone)) => discard(store, id, true, how),
        Ok(None) => store.db().conclude(id, how, false, None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => discard(store, id, true, how),
        Err(source) => Err(store::Error::io("lock", &folder, source)),
    }
}

/// A member's folder, locked against others who would remove it. None: there is no folder.
pub fn lock_member(store: &Store, id: &str) -> Result<Option<SandboxLock>, store::Error> {
    let folder = store.paths().container(id);
    let failed = |source| Err(store::Error::io("lock", &folder, source));
    match SandboxLock::wait(&folder, END_LIMIT, || ()) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => failed(io::ErrorKind::TimedOut.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => failed(source),
    }
}

/// The container's folders, then its rows.
pub fn discard(store: &Store, id: &str, in_pod: bool, how: Option<&Change>) -> Result<(), store::Error> {
    let own_sandbox = (!in_pod).then_some(id);
    let unplugged = if in_pod { Ok(()) } else { network::down(store, id) };
    let unplugged = unplugged.map_err(|error| {
        let lock = store.paths().network_lock();
        store::Error::io("take the container's network back under", &lock, io::Error::other(chain(&error)))
    });
    match unplugged.and_then(|()| folders(store, id, in_pod)) {
        Ok(()) => {
            let volumes = Volumes::of(store, id);
            store.db().conclude(id, how, true, own_sandbox)?;
            volumes.release(store);
            Ok(())
        }
        Err(error) => {
            // It goes on as one being removed.
            store.db().conclude(id, how, false, None)?;
            match store.db().change(id, &Change::Removing) {
                Ok(_) | Err(store::Error::State { .. }) => Err(error),
                Err(other) => Err(other),
            }
        }
    }
}

/// What a container had, to be let go of once its row is gone.
#[derive(Default)]
struct Volumes {
    /// Which goes on without it, and has these mounted for it.
    pod: Option<String>,
    all: Vec<String>,
    /// Those that go with it: with --rm what it did not name.
    own: Vec<String>,
}

impl Volumes {
    fn of(store: &Store, id: &str) -> Volumes {
        // Most have none, and are about to be gone: there is no more to look up.
        let all = store.db().volumes_of(id).unwrap_or_default();
        let row = if all.is_empty() { None } else { store.db().container(id).ok() };
        let Some(row) = row else { return Volumes::default() };
        let config = Config::from_row(&row).ok().filter(|config| config.remove);
        let own = config.map_or_else(Vec::new, |config| options::anonymous(&config.volumes));
        Volumes { pod: row.pod, all, own }
    }

    fn release(&self, store: &Store) {
        if let Some(pod) = &self.pod
            && let Err(error) = driver::unmount_unused(store, pod, &self.all)
        {
            eprintln!("Failed to take volumes back from pod {pod}: {}", chain(&error));
        }
        options::remove_anonymous(store, &self.own);
    }
}

fn folders(store: &Store, id: &str, in_pod: bool) -> Result<(), store::Error> {
    let paths = store.paths();
    let mut folders = vec![paths.run_secrets(id), paths.container(id)];
    if !in_pod {
        folders.extend([paths.run_sandbox(id), paths.sandbox(id)]);
    }
    for folder in folders {
        remove::tree(&folder).map_err(|source| store::Error::io("remove", &folder, source))?;
    }
    Ok(())
}

/// A container that stays has ended: that is said, and then its own sandbox's sockets go. Whoever does not
/// find those finds how it ended.
pub fn kept(store: &Store, id: &str, in_pod: bool, how: &Change) -> Result<(), store::Error> {
    if !in_pod {
        unplug(store, id);
    }
    let concluded = store.db().conclude(id, Some(how), false, (!in_pod).then_some(id));
    if !in_pod {
        let _ = remove::tree(&store.paths().run_sandbox(id));
    }
    concluded
}

/// What cannot be taken back is left to a sweep.
pub fn unplug(store: &Store, sandbox: &str) {
    if let Err(error) = network::down(store, sandbox) {
        eprintln!("Failed to take the network of {sandbox} back: {}", chain(&error));
    }
}

/// The volumes of a sandbox that has ended. What cannot be unmounted is left to a sweep.
pub fn release(store: &Store, sandbox: &str) {
    if let Err(error) = driver::unmount_all(store, sandbox) {
        eprintln!("Failed to unmount the volumes of {sandbox}: {}", chain(&error));
    }
}

/// A sandbox that has ended: its volumes, its network, its sockets, then its row. Its folder stays for its logs.
pub fn sandbox(store: &Store, id: &str) {
    release(store, id);
    unplug(store, id);
    let _ = remove::tree(&store.paths().run_sandbox(id));
    let _ = store.db().end_sandbox(id);
}

#[cfg(test)]
pub(crate) mod tests;
