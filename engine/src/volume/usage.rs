//! What volumes take on the disk.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::folder::Folder;
use super::{VolumeError, VolumeRow};
use crate::container::written;
use crate::store::Store;

/// A volume of the store, and what it takes.
#[derive(Debug)]
pub struct Used {
    pub row: VolumeRow,
    pub bytes: u64,
    /// Containers that were made with it.
    pub links: usize,
}

/// Those whose data are in the store, by name: as docker's `df`, without what is mounted or a plugin's.
pub fn all(store: &Store) -> Result<Vec<Used>, VolumeError> {
    let used = store.db().used_volumes()?;
    let rows = store.db().volumes()?.into_iter().filter(VolumeRow::is_stored);
    rows.map(|row| {
        let links = used.iter().filter(|name| **name == row.name).count();
        Ok(Used { bytes: bytes(store, &row)?, links, row })
    })
    .collect()
}

/// The files' lengths, as docker counts them; of a disk the blocks it takes on the host; nothing of what is not in the
/// store.
pub fn bytes(store: &Store, row: &VolumeRow) -> Result<u64, VolumeError> {
    let folder = Folder::of(store, &row.name);
    let (counted, path) = match row.settings.block_bytes {
        Some(_) => (blocks(&folder), folder.disk()),
        None if row.is_stored() => (written::below(&folder.data()), folder.data()),
        None => return Ok(0),
    };
    counted.map_err(VolumeError::io("measure", &path))
}

fn blocks(folder: &Folder) -> io::Result<u64> {
    match fs::symlink_metadata(folder.disk()) {
        // stat(2) counts blocks of 512 bytes.
        Ok(disk) => Ok(disk.blocks() * 512),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
