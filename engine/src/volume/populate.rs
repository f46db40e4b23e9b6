//! The first use of an empty volume, when it gets what the image has at its target.
//!
//! Whoever copies holds the volume's lock, and whoever mounts the volume meanwhile waits for that
//! ([`super::driver::mount`]). So a mark of a copy under way that nobody holds the lock of is a copy that was cut
//! short, nobody else has written to the volume since, and it is emptied and done again. A copy is not marked while
//! others have the volume mounted, who may write to it at any time, or for a container of a pod, whose others may come to:
//! cut short, it stays as far as it came, as docker's does.
//!
//! In a virtual machine a block volume is filled by the agent, which sees whether it is new: the host does not look into
//! it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use nix::fcntl::FlockArg;

use super::driver::{self, block};
use super::folder::{Folder, mark, open_folder, unmark, wait};
use super::{VolumeError, VolumeRow};
use crate::sandbox::remove;
use crate::store::files::sync_parent;
use crate::store::{FileLock, Kind, Store};

/// An empty volume that is being filled. Dropped, the copy was cut short.
pub struct Population {
    folder: Folder,
    marked: bool,
    _lock: FileLock,
    /// Dropped after the lock.
    _here: Here,
}

/// Begins to fill a volume, which the caller's sandbox has mounted as a folder. None: it is not empty.
/// [`VolumeError::BeingFilled`]: by this process itself.
pub fn begin(store: &Store, row: &VolumeRow) -> Result<Option<Population>, VolumeError> {
    let folder = Folder::of(store, &row.name);
    let here =
        Here::enter(folder.path()).ok_or_else(|| VolumeError::BeingFilled { name: row.name.clone() })?;
    let lock = lock(&folder, row)?;
    let shown = driver::shown(store, row)?;
    if folder.copying().exists() {
        // Of one that died while this one waited, or could not make its container.
        empty(&shown)?;
        end_mark(&folder)?;
    }
    let mut entries = fs::read_dir(&shown).map_err(VolumeError::io("list", &shown))?;
    if entries.next().transpose().map_err(VolumeError::io("list", &shown))?.is_some() {
        return Ok(None);
    }
    // Nothing but what is the store's own is emptied.
    let marked = row.is_stored() && has_one_user(store, row)?;
    if marked {
        mark(&folder.copying())?;
    }
    Ok(Some(Population { folder, marked, _lock: lock, _here: here }))
}

impl Population {
    /// The copy is whole.
    pub fn finish(self) -> Result<(), VolumeError> {
        if self.marked { end_mark(&self.folder) } else { Ok(()) }
    }
}

fn lock(folder: &Folder, row: &VolumeRow) -> Result<FileLock, VolumeError> {
    wait(&row.name, || FileLock::attempt(&folder.lock(), FlockArg::LockExclusiveNonblock))
}

/// Waits until nobody fills the volume, which is not mounted, and empties it if that was cut short. With the volume's
/// other lock in hand. Nobody begins to fill it as long as what is returned is held.
pub(super) fn settle(folder: &Folder, row: &VolumeRow) -> Result<FileLock, VolumeError> {
    let lock = lock(folder, row)?;
    if !folder.copying().exists() {
        return Ok(lock);
    }
    match row.settings.block_bytes {
        Some(bytes) => {
            unmark(&folder.disk())?;
            block::create(&folder.disk(), bytes)?;
        }
        None => empty(&folder.data())?,
    }
    end_mark(folder)?;
    Ok(lock)
}

/// Not to come back by a power cut: whatever containers had written by then, and brought to the disk, would be emptied.
fn end_mark(folder: &Folder) -> Result<(), VolumeError> {
    unmark(&folder.copying())?;
    Ok(sync_parent(&folder.copying())?)
}

/// Whether no container but the one that is being made can have it mounted. Those of a pod have one sandbox.
fn has_one_user(store: &Store, row: &VolumeRow) -> Result<bool, VolumeError> {
    let mounts = store.db().mounts_of(&row.name)?;
    let [sandbox] = mounts.as_slice() else { return Ok(mounts.is_empty()) };
    match store.db().pod(sandbox) {
        Ok(pod) => Ok(pod.id != *sandbox),
        Err(error) if error.kind() == Kind::NotFound => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn empty(shown: &Path) -> Result<(), VolumeError> {
    for entry in fs::read_dir(shown).map_err(VolumeError::io("list", shown))? {
        let path = entry.map_err(VolumeError::io("list", shown))?.path();
        remove::tree(&path).map_err(VolumeError::io("remove", &path))?;
    }
    // Its owner and mode were the image's already.
    fs::remove_dir(shown).map_err(VolumeError::io("remove", shown))?;
    open_folder(shown)
}

/// The volumes that this process fills: flock(2) would have it wait for itself.
static HERE: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

struct Here(PathBuf);

impl Here {
    fn enter(path: &Path) -> Option<Self> {
        here().insert(path.to_owned()).then(|| Self(path.to_owned()))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        here().remove(&self.0);
    }
}

fn here() -> MutexGuard<'static, HashSet<PathBuf>> {
    HERE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "populate_tests.rs"]
mod tests;
