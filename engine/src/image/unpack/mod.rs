//! An image's files in a folder: for user namespaces, where the kernel mounts no EROFS.
//!
//! The same layers are merged to the same tree, which is written out once per image; file data is copied
//! from the layers' files, which file systems that can share extents (btrfs, XFS) do without taking space.
//! Everything is made by descriptors of folders that this process has just made itself, and no name of the
//! tree is ever looked up through a link. Device nodes cannot be made there and are left out, as are
//! attributes that a user namespace or the file system does not take.

mod data;
mod write;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::error::Result;
use super::layer::xattrs::XattrError;
use super::{gc, root};
use crate::rootless::ids::IdMap;
use crate::sandbox::remove;
use crate::store::{self, PassingLock, Store, files};

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("Failed to {what} {name} of the image")]
    Entry { what: &'static str, name: String, source: io::Error },
    #[error(
        "{name} of the image belongs to {uid}:{gid}, and this user has not so many ids (/etc/subuid, /etc/subgid)"
    )]
    Owner { name: String, uid: u32, gid: u32 },
    #[error("a layer's file has a name in it that no file can have, or names data that is not there")]
    Damaged,
    #[error("a layer's file has malformed attributes in it")]
    Xattrs(#[from] XattrError),
    #[error("Failed to {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
}

impl UnpackError {
    fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
        let path = path.to_path_buf();
        move |source| UnpackError::File { what, path, source }
    }
}

/// The folder of a chain of layers' files, written if it is not there yet.
pub fn ensure(store: &Store, layers: &[Digest]) -> Result<PathBuf> {
    let chain = root::chain_id(layers);
    // Where root is the only user, all is root's: another tree than a full map makes.
    let flat = IdMap::of_users().is_single();
    let folder = store.paths().unpacked(&chain, flat);
    if folder.exists() {
        return Ok(folder);
    }
    let _held = gc::hold(store)?;
    // Others who want it wait.
    let _alone = PassingLock::wait(&store.paths().blob_lock(&chain))?;
    if folder.exists() {
        return Ok(folder);
    }
    make(store, layers, &folder, flat)?;
    Ok(folder)
}

/// Written beside its place, and moved there when it is on the disk.
fn make(store: &Store, layers: &[Digest], folder: &Path, flat: bool) -> Result<()> {
    let mut part = folder.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let clear = || remove::tree(&part).map_err(UnpackError::file("remove", &part));
    // Of one that was killed.
    clear()?;
    for folder in [&part, &part.join("links")] {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(UnpackError::file("make", folder))?;
    }
    let merged = root::merged(store, layers, u64::MAX)?;
    let written = write::tree(&merged, &part, flat).and_then(|()| {
        let failed = UnpackError::file("sync", &part);
        // SAFETY: syncfs(2) takes a descriptor, which is open.
        let synced = File::open(&part).and_then(|part| match unsafe { libc::syncfs(part.as_raw_fd()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
        synced.map_err(failed)?;
        fs::rename(part.join("root"), folder).map_err(UnpackError::file("move an image's files to", folder))
    });
    clear()?;
    written?;
    files::sync_parent(folder)?;
    Ok(())
}

impl From<UnpackError> for super::Error {
    fn from(error: UnpackError) -> Self {
        Self::Unpack(Box::new(error))
    }
}

/// Removes the folders of chains that are none of these.
pub(super) fn remove_others(folder: &Path, live: impl Fn(&Digest) -> bool) -> store::Result<()> {
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| store::Error::io("list", folder, error))?,
    };
    for entry in listing {
        let path = entry.map_err(|error| store::Error::io("list", folder, error))?.path();
        // `<chain>`, `<chain>.flat`, and either with `.part`.
        let stem = path.file_name().and_then(|name| name.to_str()?.split('.').next());
        let Some(chain) = stem.and_then(|hex| Digest::from_hex(hex).ok()) else { continue };
        if !live(&chain) {
            remove::tree(&path).map_err(|error| store::Error::io("remove", &path, error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
