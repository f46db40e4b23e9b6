//! A container's record: its row, its sandbox's row and folders, from create to the end.
//!
//! ```text
//!   (none) --create--> running --finish--> exited --rm--> removing --> (none)
//!                        | |                                ^            ^
//!                        | +------------- rm -f ------------+            |
//!                        +-------------- finish, with --rm --------------+
//! ```
//!
//! The folder and its lock come before the row, so whoever finds a row whose lock is free knows
//! that its owner is dead; [`crate::sandbox::sweep`] then finishes in its place. Rows go after the folders:
//! what cannot be removed keeps its row, as removing, and every sweep tries again.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::names;
use super::run::{Foreground, labels};
use crate::image::Image;
use crate::sandbox::lock::SandboxLock;
use crate::sandbox::mode::Isolation;
use crate::sandbox::probe::boot_id;
use crate::sandbox::{cgroup, remove};
use crate::store::{self, Change, ContainerRow, ContainerState, NewSandbox, Store};

/// Users that VMMs run as: a range of 65,536 above what distributions and useradd hand out.
const VMM_UIDS: (u32, u32) = (0x6875_0000, 1 << 16);
/// Tries at a name nobody has; each doubles as a bound on a store full of names.
const NAME_ATTEMPTS: usize = 64;
/// What the owner of a container that was killed may take to clear away after it.
const END_LIMIT: Duration = Duration::from_secs(30);

/// The exit code of a container that was killed together with what ran it: as if by SIGKILL.
pub const KILLED: u8 = 137;

/// What a container's row keeps as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct Config {
    /// The image as the user named it.
    pub image: String,
    pub command: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `--rm`
    pub remove: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("Failed to make the sandbox's folder {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
}

/// A container of this process. Its sandbox's lock is held until it is dropped.
#[derive(Debug)]
pub struct Record {
    pub id: String,
    pub mode: Isolation,
    pub dir: PathBuf,
    pub run_dir: PathBuf,
    /// Whom the VMM becomes; none in namespace mode.
    pub uid: Option<u32>,
    remove: bool,
    _lock: SandboxLock,
}

impl Record {
    pub fn create(
        store: &Store,
        id: &str,
        image: &Image,
        mode: Isolation,
        asked: &Foreground,
        command: Vec<String>,
    ) -> Result<Record, RecordError> {
        let (dir, run_dir) = (store.paths().sandbox(id), store.paths().run_sandbox(id));
        let _creating = Creating::begin(&store.paths().sandboxes())?;
        let lock = make_folders(&dir, &run_dir)?;
        let config = Config {
            image: asked.image.clone(),
            command,
            labels: labels(&asked.labels),
            remove: asked.remove,
        };
        let config = serde_json::to_string(&config).unwrap_or_default();
        let row = ContainerRow {
            sandbox: Some(id.to_string()),
            state: ContainerState::Running,
            ..ContainerRow::new(id, "", image.id, &mode.to_string(), config)
        };
        let added = add_rows(store, row, asked.name.as_deref(), mode);
        if added.is_err() {
            let _ = remove_folders(store, id);
        }
        let uid = added?;
        Ok(Record { id: id.to_string(), mode, dir, run_dir, uid, remove: asked.remove, _lock: lock })
    }

    /// Whether `--rm` was given.
    pub fn removed_at_end(&self) -> bool {
        self.remove
    }

    /// Whether somebody ends the container by removing it.
    pub fn is_being_removed(&self, store: &Store) -> bool {
        match store.db().container(&self.id) {
            Ok(row) => row.state == ContainerState::Removing,
            Err(error) => error.kind() == store::Kind::NotFound,
        }
    }

    /// The end, with the exit code; the writable layer stays unless `--rm` was given. What fails here
    /// is finished by the next command's sweep.
    pub fn finish(self, store: &Store, exit_code: u8) {
        finish(store, &self.id, self.remove, i32::from(exit_code));
    }
}

/// Ends a container's record, for its owner or in a dead owner's place; may be done twice. The sandbox's
/// lock is in the caller's hand, or there is no folder left to lock.
pub fn finish(store: &Store, id: &str, remove: bool, exit_code: i32) {
    if !remove {
        remove_run_folder(store, id);
        let _ = store.db().end_container(id, Some(exit_code));
    } else if remove_ended(store, id).is_err() {
        let _ = store.db().change(id, &Change::Removing);
    }
}

/// What a sandbox that ended leaves in the run folder.
pub fn remove_run_folder(store: &Store, id: &str) {
    let _ = remove::tree(&store.paths().run_sandbox(id));
}

/// Removes a container and everything of it, and kills it first if it runs.
pub fn remove(store: &Store, row: &ContainerRow) -> Result<(), store::Error> {
    // Said first, so that its owner knows what ends it, and sweeps that it is to go.
    match store.db().change(&row.id, &Change::Removing) {
        // By somebody who may have been killed over it.
        Err(store::Error::State { is: ContainerState::Removing, .. }) => {}
        other => drop(other?),
    }
    let dir = store.paths().sandbox(row.sandbox.as_deref().unwrap_or(&row.id));
    // Again and again: while it starts there may not be anything to kill yet.
    let kill = || row.sandbox.as_deref().is_none_or(cgroup::kill);
    let failed = |what, source| Err(store::Error::io(what, &dir, source));
    let _lock = match SandboxLock::wait(&dir, END_LIMIT, kill) {
        Ok(Some(lock)) => Some(lock),
        Ok(None) => return failed("wait for the sandbox to end in", io::ErrorKind::TimedOut.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return failed("lock", source),
    };
    // An owner that was killed meanwhile did not do it.
    if !kill() {
        return failed("end the processes of", io::ErrorKind::ResourceBusy.into());
    }
    remove_ended(store, &row.id)
}

/// Removes a container that has ended, under the same condition as [`finish`].
pub fn remove_ended(store: &Store, id: &str) -> Result<(), store::Error> {
    remove_folders(store, id)?;
    store.db().end_container(id, None)
}

fn remove_folders(store: &Store, id: &str) -> Result<(), store::Error> {
    for folder in [store.paths().run_sandbox(id), store.paths().sandbox(id)] {
        remove::tree(&folder).map_err(|source| store::Error::io("remove", &folder, source))?;
    }
    Ok(())
}

/// Held while a folder has no row yet, so that nobody takes it for an orphan.
#[derive(Debug)]
pub struct Creating {
    _held: Flock<File>,
}

impl Creating {
    fn begin(sandboxes: &Path) -> Result<Creating, RecordError> {
        let failed = |source| RecordError::Folder { path: sandboxes.to_path_buf(), source };
        let folder = File::open(sandboxes).map_err(failed)?;
        match Flock::lock(folder, FlockArg::LockShared) {
            Ok(held) => Ok(Creating { _held: held }),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// The right to remove folders without rows, if nobody is making one at the moment.
    pub fn nobody_is(sandboxes: &Path) -> Option<Creating> {
        let folder = File::open(sandboxes).ok()?;
        Flock::lock(folder, FlockArg::LockExclusiveNonblock).ok().map(|held| Creating { _held: held })
    }
}

fn make_folders(dir: &Path, run_dir: &Path) -> Result<SandboxLock, RecordError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| RecordError::Folder { path, source }
    };
    DirBuilder::new().mode(0o700).create(dir).map_err(failed(dir))?;
    DirBuilder::new().mode(0o700).create(run_dir).map_err(failed(run_dir))?;
    let lock = SandboxLock::attempt(dir).map_err(failed(dir))?;
    lock.ok_or_else(|| failed(dir)(io::ErrorKind::ResourceBusy.into()))
}

fn add_rows(
    store: &Store,
    mut row: ContainerRow,
    name: Option<&str>,
    mode: Isolation,
) -> Result<Option<u32>, store::Error> {
    let sandbox =
        NewSandbox { id: row.id.clone(), boot_id: boot_id(), mode: row.mode.clone(), created: row.created };
    let uids = (mode == Isolation::Vm).then_some(VMM_UIDS);
    let mut attempt = 0;
    loop {
        row.name = name.map_or_else(|| names::generate(&row.id, attempt), str::to_string);
        match store.db().add_sandbox_with_container(&sandbox, uids, &row) {
            Err(store::Error::NameTaken(_)) if name.is_none() && attempt < NAME_ATTEMPTS => attempt += 1,
            other => return Ok(other?.uid),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
