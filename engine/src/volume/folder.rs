//! A volume's folder, and how it comes and goes.
//!
//! ```text
//!   <root>/volumes/<name>/   0700
//!     _data/                 what containers see; of local volumes with options the mount point
//!     disk.ext4, mnt/        of a block volume: its file system, and where a host mounts it
//!     lock                   held while what an image has is copied in (populate)
//!     copying                that is under way, or was cut short
//!     making, removed        it is not whole yet; it is to go
//! ```
//!
//! Folder and `making` come before the row, and `removed` comes before the row goes. A folder without a row that has
//! neither was not left by somebody who was killed: the database was lost, or replaced by an older one. Nothing removes
//! that but its owner, and making a volume of its name takes it over with what it holds.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::VolumeError;
use super::patience::{Patience, wait};
use crate::sandbox::remove;
use crate::store::files::{ensure_folder, sync_parent};
use crate::store::{PassingLock, Store};

/// One volume's.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn of(store: &Store, name: &str) -> Self {
        Self(store.paths().volume(name))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn data(&self) -> PathBuf {
        self.0.join("_data")
    }

    pub fn disk(&self) -> PathBuf {
        self.0.join("disk.ext4")
    }

    /// Where a block volume is mounted on a host.
    pub fn mounted_disk(&self) -> PathBuf {
        self.0.join("mnt")
    }

    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// A copy is under way, or was cut short.
    pub fn copying(&self) -> PathBuf {
        self.0.join("copying")
    }

    fn making(&self) -> PathBuf {
        self.0.join("making")
    }

    fn removed(&self) -> PathBuf {
        self.0.join("removed")
    }

    /// Begins a volume. Until [`Folder::made`] it is a killed maker's, unless it was there before.
    pub fn make(&self) -> Result<(), VolumeError> {
        if fs::symlink_metadata(self.path()).is_ok_and(|found| found.is_dir()) && !self.is_left_over() {
            return Ok(());
        }
        // Begun again from nothing.
        self.clear_away()?;
        ensure_folder(self.path())?;
        mark(&self.making())
    }

    /// The row is there. The mark does not come back with a power cut, which the row may be lost in.
    pub fn made(&self) -> Result<(), VolumeError> {
        unmark(&self.making())?;
        Ok(sync_parent(&self.making())?)
    }

    /// The row is about to go.
    pub fn remove(&self) -> Result<(), VolumeError> {
        if self.path().exists() { mark(&self.removed()) } else { Ok(()) }
    }

    /// The row stays.
    pub fn keep(&self) -> Result<(), VolumeError> {
        unmark(&self.removed())
    }

    /// Whether it was being made or removed, if it has no row.
    pub fn is_left_over(&self) -> bool {
        let marked = self.making().exists() || self.removed().exists();
        // Somebody was killed before it could be marked.
        marked || fs::read_dir(self.path()).is_ok_and(|mut entries| entries.next().is_none())
    }

    /// Removes all of it. Nothing may be mounted there.
    pub fn clear_away(&self) -> Result<(), VolumeError> {
        // All else first: what is cut short is still marked.
        let all = match fs::read_dir(self.path()) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => Err(error),
        };
        for entry in all.map_err(VolumeError::io("list", self.path()))? {
            let path = entry.path();
            if path != self.making() && path != self.removed() {
                remove::tree(&path).map_err(VolumeError::io("remove", &path))?;
            }
        }
        remove::tree(self.path()).map_err(VolumeError::io("remove", self.path()))
    }
}

/// The right to make, remove, mount or unmount a volume.
pub fn lock(store: &Store, name: &str, patience: Patience<'_>) -> Result<PassingLock, VolumeError> {
    wait(name, patience, || attempt(store, name))
}

/// The same, if nobody has it.
pub fn attempt(store: &Store, name: &str) -> Result<Option<PassingLock>, VolumeError> {
    Ok(PassingLock::attempt(&store.paths().volume_lock(name))?)
}

/// Makes an empty file that survives a power cut.
pub fn mark(path: &Path) -> Result<(), VolumeError> {
    File::create(path).map_err(VolumeError::io("create", path))?;
    Ok(sync_parent(path)?)
}

pub fn unmark(path: &Path) -> Result<(), VolumeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.map_err(VolumeError::io("remove", path)),
    }
}

/// A folder as docker makes it for what containers write: anybody may look, whatever the umask.
pub fn open_folder(path: &Path) -> Result<(), VolumeError> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        outcome => outcome.map_err(VolumeError::io("create", path))?,
    }
    fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(VolumeError::io("set the mode of", path))
}
