//! The first use of an empty volume, when it gets what the image has at its target.
//!
//! Whoever copies holds the volume's lock, and whoever mounts the volume meanwhile waits for that, as long as the copy
//! takes or until its own start is called off ([`super::driver::mount`]). So a mark of a copy under way that nobody holds the lock of is a copy that was cut
//! short, nobody else has written to the volume since, and it is emptied and done again. A copy is not marked while
//! others have the volume mounted, who may write to it at any time, or for a container of a pod, whose others may come to:
//! cut short, it stays as far as it came, as docker's does.
//!
//! In a virtual machine a block volume is filled by the agent, which sees whether it is new: the host does not look into
//! it.

use std::fs;
use std::path::Path;

use nix::fcntl::FlockArg;

use super::driver::{self, block};
use super::folder::{Folder, mark, open_folder, unmark};
use super::patience::{Patience, wait};
use super::{VolumeError, VolumeRow};
use crate::sandbox::remove;
use crate::store::files::sync_parent;
use crate::store::{self, FileLock, Kind, Store};

/// An empty volume that is being filled. Dropped, the copy was cut short.
pub struct Population {
    folder: Folder,
    marked: bool,
    _lock: FileLock,
}

/// Begins to fill a volume, which the caller's sandbox has mounted as a folder. Waits while it is filled for another
/// container, of the same sandbox too. None: it is not empty.
pub fn begin(
    store: &Store,
    row: &VolumeRow,
    patience: Patience<'_>,
) -> Result<Option<Population>, VolumeError> {
    let folder = Folder::of(store, &row.name);
    let lock = wait(&row.name, patience, || attempt(&folder))?;
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
    Ok(Some(Population { folder, marked, _lock: lock }))
}

impl Population {
    /// The copy is whole.
    pub fn finish(self) -> Result<(), VolumeError> {
        if self.marked { end_mark(&self.folder) } else { Ok(()) }
    }
}

fn attempt(folder: &Folder) -> Result<Option<FileLock>, store::Error> {
    FileLock::attempt(&folder.lock(), FlockArg::LockExclusiveNonblock)
}

/// Empties a volume, which is not mounted, if its copy was cut short. With the volume's other lock in hand. Nobody begins
/// to fill it as long as what is returned is held; None: somebody is at it.
pub(super) fn settle(folder: &Folder, row: &VolumeRow) -> Result<Option<FileLock>, VolumeError> {
    let Some(lock) = attempt(folder)? else { return Ok(None) };
    if !folder.copying().exists() {
        return Ok(Some(lock));
    }
    match row.settings.block_bytes {
        Some(bytes) => {
            unmark(&folder.disk())?;
            block::create(&folder.disk(), bytes)?;
        }
        None => empty(&folder.data())?,
    }
    end_mark(folder)?;
    Ok(Some(lock))
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

#[cfg(test)]
#[path = "populate_tests.rs"]
mod tests;
