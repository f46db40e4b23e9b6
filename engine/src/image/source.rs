//! An image's documents and layers as bytes again, for whatever takes it out of the store.

use std::fs::File;
use std::io::{self, Read};

use super::digest::{Digest, Hasher};
use super::error::{Error, Result};
use super::recipe::Rebuilt;
use super::reference::Reference;
use super::spec::{Descriptor, Manifest, media_type};
use super::{catalog, decompress, document};
use crate::store::Store;
use crate::store::db::images::{ImageRow, LayerRow};

/// All of an image. Its files stay as long as the caller holds the store's.
pub struct Source {
    /// Digest of the config.
    pub id: Digest,
    pub config: Vec<u8>,
    pub digest: Digest,
    /// As it came.
    pub manifest: Vec<u8>,
    pub media_type: String,
    /// Lowest first.
    pub layers: Vec<LayerSource>,
}

/// A layer, as its image's manifest names it.
#[derive(Debug, Clone)]
pub struct LayerSource {
    pub descriptor: Descriptor,
    pub row: LayerRow,
}

/// An image as one of its names means it: of manifests with the same config, that name's.
pub fn named(store: &Store, row: &ImageRow, name: Option<&Reference>) -> Result<Source> {
    let canonical = name.map(Reference::canonical);
    let own = row.names.iter().find(|(known, _)| Some(known) == canonical.as_ref());
    match own.filter(|(_, manifest)| *manifest != row.manifest) {
        // What the name means may be an index, and may be gone: the image's own manifest is there.
        Some((_, manifest)) => {
            open(store, &row.id, manifest).or_else(|_| open(store, &row.id, &row.manifest))
        }
        None => open(store, &row.id, &row.manifest),
    }
}

/// Everything in a repository that has a tag.
pub fn tags(store: &Store, repository: &Reference) -> Result<Vec<(ImageRow, Reference)>> {
    let mut found = Vec::new();
    for row in catalog::list(store)? {
        let names = row.names.iter().filter_map(|(name, _)| name.parse::<Reference>().ok());
        let tags = names.filter(|name| name.digest.is_none() && name.is_in_repository_of(repository));
        found.extend(tags.map(|name| (row.clone(), name)));
    }
    found.sort_by(|(_, one), (_, other)| one.tag.cmp(&other.tag));
    Ok(found)
}

/// Reads an image's documents, which go out as what their digests say or not at all.
pub fn open(store: &Store, id: &Digest, manifest: &Digest) -> Result<Source> {
    let bytes = catalog::config_bytes(store, manifest)?;
    let shown = || format!("the store's manifest {manifest}");
    document::verify(&shown(), &bytes, manifest)?;
    let parsed: Manifest =
        serde_json::from_slice(&bytes).map_err(|source| Error::Json { document: shown(), source })?;
    let config = catalog::config_bytes(store, id)?;
    document::verify(&format!("the store's config {id}"), &config, id)?;
    let rows = store.db().layers_of(id)?;
    if parsed.layers.len() != rows.len() {
        return Err(Error::LayerCount { manifest: parsed.layers.len(), config: rows.len() });
    }
    let media_type = match parsed.media_type.as_str() {
        // OCI may leave it out; then the config tells.
        "" if parsed.config.media_type == media_type::DOCKER_CONFIG => media_type::DOCKER_MANIFEST.to_owned(),
        "" => media_type::OCI_MANIFEST.to_owned(),
        said => said.to_owned(),
    };
    let layers = parsed.layers.into_iter().zip(rows);
    Ok(Source {
        id: *id,
        config,
        digest: *manifest,
        manifest: bytes,
        media_type,
        layers: layers.map(|(descriptor, row)| LayerSource { descriptor, row }).collect(),
    })
}

impl LayerSource {
    /// Whether the manifest names the tar itself.
    pub fn is_plain(&self) -> bool {
        self.descriptor.digest == self.row.diff_id
    }

    /// The bytes that the manifest names, and how many they are. The last read fails if they are not
    /// those.
    pub fn blob(&self, store: &Store) -> Result<(u64, Box<dyn Read + Send>)> {
        let path = store.paths().blob(&self.descriptor.digest);
        match File::open(&path) {
            Ok(file) => {
                let size = file.metadata().map_err(|e| Error::io("examine", &path, e))?.len();
                Ok((size, Box::new(Checked::new(file, self.descriptor.digest))))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_plain() => {
                Ok((self.row.tar_bytes, Box::new(Rebuilt::open(store, &self.row)?)))
            }
            Err(error) => Err(Error::io("open", path, error)),
        }
    }

    /// The layer's tar. The last read fails if it is not the one of this diff id.
    pub fn tar(&self, store: &Store) -> Result<Box<dyn Read + Send>> {
        if self.is_plain() {
            return Ok(self.blob(store)?.1);
        }
        let (_, blob) = self.blob(store)?;
        let shown = || self.descriptor.digest.to_string();
        let plain = decompress::open(blob).map_err(|source| Error::Member { member: shown(), source })?;
        Ok(Box::new(Checked::new(plain, self.row.diff_id)))
    }
}

/// A stream that must have a digest, or its end is an error.
struct Checked<R> {
    inner: R,
    expected: Digest,
    hasher: Option<Hasher>,
}

impl<R> Checked<R> {
    fn new(inner: R, expected: Digest) -> Self {
        Self { inner, expected, hasher: Some(Hasher::default()) }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        match &mut self.hasher {
            Some(hasher) if n > 0 || buf.is_empty() => hasher.update(buf.get(..n).unwrap_or_default()),
            _ => {
                let found = self.hasher.take().map(Hasher::finish);
                if found.is_some_and(|found| found != self.expected) {
                    let text = format!("the store's copy of {} is damaged", self.expected);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            }
        }
        Ok(n)
    }
}
