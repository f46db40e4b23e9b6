//! Looking images up, listing, naming and removing them.

use std::fs;

use super::digest::Digest;
use super::error::{Error, Result};
use super::ingest::is_file_of;
use super::reference::Reference;
use super::root::{self, Root};
use super::spec::ImageConfig;
use super::{Image, Naming, gc};
use crate::store::db::images::ImageRow;
use crate::store::db::removal::Removed;
use crate::store::{self, Store};
use crate::text::escape;

/// The image of this name as a user writes it, or the only one whose id starts so.
pub fn find(store: &Store, naming: &Naming, wanted: &str) -> Result<ImageRow> {
    find_with_name(store, naming, wanted).map(|(row, _)| row)
}

/// The image, and the canonical name if it was found by that.
pub(super) fn find_with_name(
    store: &Store,
    naming: &Naming,
    wanted: &str,
) -> Result<(ImageRow, Option<String>)> {
    let not_found = || not_found(naming, wanted);
    if let Ok(id) = wanted.parse::<Digest>() {
        return Ok((store.db().image(&id)?.ok_or_else(not_found)?, None));
    }
    // Names come first, as in Docker: an image may be called "cafe".
    let reference = naming.parse(wanted);
    if let Ok(reference) = &reference {
        let name = reference.canonical();
        if let Some(row) = store.db().image_named(&name)? {
            return Ok((row, Some(name)));
        }
    }
    let prefix = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    if !prefix.is_empty()
        && prefix.len() <= 64
        && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    {
        return Ok((store.db().image_starting(prefix)?.ok_or_else(not_found)?, None));
    }
    reference?;
    Err(not_found())
}

/// An image, ready to be run.
pub fn resolve(store: &Store, naming: &Naming, wanted: &str) -> Result<Image> {
    image_from(store, find(store, naming, wanted)?)
}

/// The image that a container was made from, also if it was removed by force since.
pub fn of_container(store: &Store, id: &Digest) -> Result<Image> {
    let row = store.db().image_of_container(id)?;
    image_from(store, row.ok_or_else(|| Error::NotFound(id.to_string()))?)
}

fn image_from(store: &Store, row: ImageRow) -> Result<Image> {
    let config = config(store, &row.id)?;
    let layers = store.db().layers_of(&row.id)?.into_iter().map(|layer| layer.diff_id).collect();
    let shown_as = match row.names.iter().find_map(|(name, _)| name.parse::<Reference>().ok()) {
        Some(name) => name.familiar(),
        None => row.id.to_string(),
    };
    Ok(Image { id: row.id, manifest: row.manifest, config, layers, shown_as })
}

/// An image's config, as bytes.
pub fn config_bytes(store: &Store, id: &Digest) -> Result<Vec<u8>> {
    let path = store.paths().blob(id);
    fs::read(&path).map_err(|source| Error::io("read", path, source))
}

/// A manifest, config or compressed layer.
pub fn open_blob(store: &Store, digest: &Digest) -> Result<fs::File> {
    let path = store.paths().blob(digest);
    fs::File::open(&path).map_err(|source| Error::io("open", path, source))
}

pub fn config(store: &Store, id: &Digest) -> Result<ImageConfig> {
    serde_json::from_slice(&config_bytes(store, id)?)
        .map_err(|source| Error::Json { document: format!("the config {id}"), source })
}

/// Whether all files of an image are in the store.
pub fn is_complete(store: &Store, id: &Digest) -> Result<bool> {
    let paths = store.paths();
    let layers = store.db().layers_of(id)?;
    let blobs = store.db().blobs_of(id)?;
    let chain: Vec<_> = layers.iter().map(|layer| layer.diff_id).collect();
    Ok(blobs.iter().all(|(digest, bytes)| is_file_of(&paths.blob(digest), *bytes))
        && layers.iter().all(|layer| is_file_of(&paths.layer(&layer.diff_id), layer.bytes))
        && root::existing(store, &chain).is_some())
}

/// The merged root of an image.
pub fn root_for(store: &Store, image: &Image) -> Result<Root> {
    if let Some(root) = root::existing(store, &image.layers) {
        return Ok(root);
    }
    let _held = gc::hold(store)?;
    // It was within the ceilings when the image came.
    Ok(root::ensure(store, &image.layers, u64::MAX)?)
}

/// All images, newest first.
pub fn list(store: &Store) -> Result<Vec<ImageRow>> {
    Ok(store.db().images()?)
}

/// Gives an image a further name.
pub fn tag(store: &Store, naming: &Naming, image: &str, name: &Reference) -> Result<()> {
    let row = find(store, naming, image)?;
    Ok(store.db().tag(&row.id, &name.canonical())?)
}

/// Removes a name, and with its last name the image; or the image of an id, with all its names. What
/// only it needed is collected.
pub fn remove(store: &Store, naming: &Naming, wanted: &str, force: bool) -> Result<Removed> {
    let (row, name) = find_with_name(store, naming, wanted)?;
    let outcome = match &name {
        Some(name) => store.db().remove_image_name(name, force),
        None => store.db().remove_image(&row.id, force),
    };
    let outcome = outcome.map_err(|error| match error {
        // Another process was faster.
        store::Error::NotFound { .. } => not_found(naming, wanted),
        other => other.into(),
    })?;
    let removed = outcome.map_err(|refusal| Error::refused(wanted, refusal))?;
    if removed.deleted.is_some() {
        gc::collect(store)?;
    }
    Ok(removed)
}

/// With the tag that was looked for, as docker tells it.
fn not_found(naming: &Naming, wanted: &str) -> Error {
    let name = naming.parse(wanted).map(|name| naming.familiar(&name));
    Error::NotFound(escape(&name.unwrap_or_else(|_| wanted.to_owned())).to_string())
}
