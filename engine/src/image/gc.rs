//! Removing what no image and no container needs.
//!
//! Rows decide, files follow. An image's rows go in one transaction when its last name is removed;
//! a container's row, written in a transaction that sees the image's, keeps image and layers. Rows of
//! layers and files go under the exclusive files lock, so never while somebody [`hold`]s them: a load or
//! pull whose rows are still to come, a save that reads. If one does, the collection is owed, which a mark
//! in the store says, and who lets go of the files last sees to it. What a file that goes is open for (a
//! mount, a virtual machine's disk) stays usable until it is closed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::digest::Digest;
use super::error::{Error, Result};
use super::unpack;
use crate::store::{self, FileLock, Store};

/// Every file of the store stays where it is until this is dropped.
pub struct Held<'a> {
    store: &'a Store,
    lock: Option<FileLock>,
}

/// Keeps every file where it is. Also clears away what killed writers left.
pub fn hold(store: &Store) -> store::Result<Held<'_>> {
    Ok(Held { store, lock: Some(store.hold_files()?) })
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        drop(self.lock.take());
        if is_owed(self.store) {
            // The mark stays if this fails, and with it the next one's duty.
            let _ = collect(self.store);
        }
    }
}

/// Collects; if somebody holds the files right now, leaves it to them.
pub fn collect(store: &Store) -> Result<()> {
    loop {
        let exclusive = match store.try_collect()? {
            Some(exclusive) => exclusive,
            None => {
                owe(store)?;
                // Who let go of the files before the mark was there has not seen it.
                let Some(exclusive) = store.try_collect()? else { return Ok(()) };
                exclusive
            }
        };
        // Before the rows are read: who removes an image from here on marks it again.
        settle(store)?;
        now(store)?;
        drop(exclusive);
        if !is_owed(store) {
            return Ok(());
        }
    }
}

fn is_owed(store: &Store) -> bool {
    store.paths().collection_owed().exists()
}

fn owe(store: &Store) -> Result<()> {
    let path = store.paths().collection_owed();
    File::create(&path).map(drop).map_err(|e| Error::io("create", path, e))
}

fn settle(store: &Store) -> Result<()> {
    let path = store.paths().collection_owed();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// Collects, under the exclusive lock.
fn now(store: &Store) -> Result<()> {
    let live = store.db().collect()?;
    let paths = store.paths();
    remove_others(&paths.layers(), &live.layers)?;
    remove_others(&paths.roots(), &live.chains)?;
    unpack::remove_others(&paths.all_unpacked(), |chain| live.chains.contains(chain))?;
    remove_others(&paths.blobs(), &live.blobs)?;
    // Who fetches a blob holds the files, so these are of the killed.
    remove_others(&paths.locks(), &BTreeSet::new())
}

/// Removes the files of a folder that are named by none of these digests.
fn remove_others(folder: &Path, live: &BTreeSet<Digest>) -> Result<()> {
    let failed = |e| Error::io("list", folder, e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let digest =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|hex| Digest::from_hex(hex).ok());
        // What hull did not put there is not hull's to remove.
        let Some(digest) = digest else { continue };
        if !live.contains(&digest) {
            fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "gc_tests.rs"]
mod tests;
