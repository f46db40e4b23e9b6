//! The last step of load, import and pull: layers that are temporary files become an image.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::digest::Digest;
use super::error::{Error, Result};
use super::root;
use super::spec::{Descriptor, ImageConfig, Manifest, media_type};
use super::{Reference, platform};
use crate::store::db::images::{LayerRow, NewImage};
use crate::store::{self, Store, files};

/// A layer whose files are in place: with its compressed form, if that is kept.
pub struct Layer {
    pub row: LayerRow,
    pub blob: Option<(Digest, u64)>,
}

/// An image whose parts are all there.
pub struct Parts {
    /// As they came; the id is their digest.
    pub config: Vec<u8>,
    /// As they came. Without one, hull writes one that names the layers' plain tars.
    pub manifest: Option<Vec<u8>>,
    pub layers: Vec<Layer>,
    pub names: Vec<Reference>,
    /// That its merged root may have.
    pub max_entries: u64,
}

/// Reads a config and refuses one for another machine.
pub fn parse_config(config: &[u8], document: &str) -> Result<ImageConfig> {
    let parsed: ImageConfig = serde_json::from_slice(config)
        .map_err(|source| Error::Json { document: crate::text::escape(document).to_string(), source })?;
    platform::check(&parsed)?;
    Ok(parsed)
}

/// A layer's row, if its file is in the store as well.
pub fn known_layer(store: &Store, diff_id: &Digest) -> store::Result<Option<LayerRow>> {
    let row = store.db().layer(diff_id)?;
    Ok(row.filter(|row| is_file_of(&store.paths().layer(diff_id), row.bytes)))
}

/// Whether a file is there and has this size: a disk that failed may have cut it.
pub(super) fn is_file_of(path: &Path, bytes: u64) -> bool {
    path.metadata().is_ok_and(|file| file.len() == bytes)
}

/// Puts an image's documents and its merged root into the store. What is left to do is to add the
/// row. The caller holds the store's files, and has checked the layers against the config.
pub fn prepare(store: &Store, parts: Parts, config: &ImageConfig) -> Result<NewImage> {
    let Parts { config: config_bytes, manifest, layers, names, max_entries } = parts;
    let mut blobs: Vec<_> = layers.iter().filter_map(|layer| layer.blob).collect();
    let rows: Vec<_> = layers.into_iter().map(|layer| layer.row).collect();
    let manifest = match manifest {
        Some(manifest) => manifest,
        None => plain_manifest(&config_bytes, &rows)?,
    };
    // Both wait for the disk more than they compute.
    let (root, documents) = std::thread::scope(|scope| {
        let documents = scope.spawn(|| add_blobs(store, [&config_bytes, &manifest]));
        let root = root::ensure(store, &config.rootfs.diff_ids, max_entries);
        // A panic of the thread is a bug, and goes on here.
        (root, documents.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let root = root?;
    let [id, manifest_digest] = documents?;
    blobs.push((id, config_bytes.len() as u64));
    blobs.push((manifest_digest, manifest.len() as u64));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(NewImage {
        id,
        manifest: manifest_digest,
        chain: root.chain_id,
        created: config.created.clone().unwrap_or_default(),
        added: i64::try_from(now).unwrap_or(i64::MAX),
        layers: rows,
        blobs,
        names: names.iter().map(Reference::canonical).collect(),
    })
}

/// Puts documents into the store.
pub(super) fn add_blobs<const N: usize>(store: &Store, documents: [&[u8]; N]) -> Result<[Digest; N]> {
    let mut new = Vec::new();
    for bytes in documents {
        let path = store.paths().blob(&Digest::of(bytes));
        if !has_bytes(&path, bytes) {
            let temp = store.temp_file()?;
            temp.file().write_all(bytes).map_err(|e| store::Error::io("write", temp.path(), e))?;
            new.push((temp, path));
        }
    }
    files::adopt(new)?;
    Ok(documents.map(Digest::of))
}

/// Whether a file is there, and not damaged.
fn has_bytes(path: &Path, bytes: &[u8]) -> bool {
    is_file_of(path, bytes.len() as u64) && fs::read(path).is_ok_and(|found| found == bytes)
}

fn plain_manifest(config: &[u8], layers: &[LayerRow]) -> Result<Vec<u8>> {
    let manifest = Manifest {
        schema_version: 2,
        media_type: media_type::OCI_MANIFEST.to_owned(),
        config: Descriptor::new(media_type::OCI_CONFIG, Digest::of(config), config.len() as u64),
        layers: layers
            .iter()
            .map(|row| Descriptor::new(media_type::OCI_LAYER, row.diff_id, row.tar_bytes))
            .collect(),
    };
    serde_json::to_vec(&manifest)
        .map_err(|source| Error::Json { document: "the manifest".to_owned(), source })
}
