//! Removing what no image and no container needs.
//!
//! Rows decide, files follow. An image's rows go in one transaction when its last name is removed;
//! a container's row, written in a transaction that sees the image's, keeps image and layers. Files
//! go under the exclusive files lock, so never while a load is adding files whose rows are still to
//! come: if one is, the collection is left to it, as every load ends with one. What a file that goes
//! is open for (a mount, a virtual machine's disk) stays usable until it is closed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::digest::Digest;
use super::error::{Error, Result};
use crate::store::Store;

/// Collects, unless somebody adds files right now.
pub fn collect(store: &Store) -> Result<()> {
    let Some(_exclusive) = store.try_collect()? else { return Ok(()) };
    let live = store.db().collect()?;
    let paths = store.paths();
    remove_others(&paths.layers(), &live.layers)?;
    remove_others(&paths.roots(), &live.chains)?;
    remove_others(&paths.blobs(), &live.blobs)
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
