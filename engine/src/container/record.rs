//! A container's record: its row, its sandbox's row and folders, from create to the end.
//!
//! ```text
//!   (none) --create--> running --finish--> exited --rm--> (none)
//!                         |                                 ^
//!                         +------ finish, with --rm --------+
//! ```
//!
//! The folder and its lock come before the row, so whoever finds a row whose lock is free knows
//! that its owner is dead; [`crate::sandbox::sweep`] then finishes in its place.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::names;
use super::run::{Foreground, labels};
use crate::image::Image;
use crate::sandbox::lock::SandboxLock;
use crate::sandbox::mode::Isolation;
use crate::sandbox::probe::boot_id;
use crate::store::{self, ContainerRow, ContainerState, NewSandbox, Store};

/// Users that VMMs run as: a range of 65,536 above what distributions and useradd hand out.
const VMM_UIDS: (u32, u32) = (0x6875_0000, 1 << 16);
/// Tries at a name nobody has; each doubles as a bound on a store full of names.
const NAME_ATTEMPTS: usize = 64;

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
        let row = ContainerRow {
            id: id.to_string(),
            name: String::new(),
            image: image.id,
            sandbox: Some(id.to_string()),
            mode: mode.to_string(),
            state: ContainerState::Running,
            created: now(),
            exit_code: None,
            config: serde_json::to_string(&config).unwrap_or_default(),
        };
        let added = add_rows(store, row, asked.name.as_deref(), mode);
        if added.is_err() {
            remove_folders(&dir, &run_dir);
        }
        let uid = added?;
        Ok(Record { id: id.to_string(), mode, dir, run_dir, uid, remove: asked.remove, _lock: lock })
    }

    /// Whether `--rm` was given.
    pub fn removed_at_end(&self) -> bool {
        self.remove
    }

    /// The end, with the exit code; the writable layer stays unless `--rm` was given. What fails here
    /// is finished by the next command's sweep.
    pub fn finish(self, store: &Store, exit_code: u8) {
        finish(store, &self.id, self.remove, i32::from(exit_code));
    }
}

/// Ends a container's record, for its owner or in a dead owner's place; may be done twice.
pub fn finish(store: &Store, id: &str, remove: bool, exit_code: i32) {
    remove_run_folder(store, id);
    if remove {
        let _ = fs::remove_dir_all(store.paths().sandbox(id));
    }
    let _ = store.db().end_container(id, (!remove).then_some(exit_code));
}

/// What a sandbox that ended leaves in the run folder.
pub fn remove_run_folder(store: &Store, id: &str) {
    let _ = fs::remove_dir_all(store.paths().run_sandbox(id));
}

/// Removes everything of an ended container.
pub fn remove(store: &Store, id: &str) -> Result<(), store::Error> {
    store.db().update_container(id, ContainerState::Removing, None, None)?;
    remove_folders(&store.paths().sandbox(id), &store.paths().run_sandbox(id));
    store.db().remove_container(id)
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

fn remove_folders(dir: &Path, run_dir: &Path) {
    let _ = fs::remove_dir_all(run_dir);
    let _ = fs::remove_dir_all(dir);
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

/// Seconds since 1970.
pub fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
