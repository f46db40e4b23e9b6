//! Manifests and indexes as they come from archives and registries, told by what is in them.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::digest::Digest;
use super::error::{Error, Result};
use super::platform;
use super::spec::{Descriptor, Index, MAX_DOCUMENT, Manifest, Platform, media_type};
use crate::text::escape;

/// Indexes inside indexes.
const MAX_DEPTH: u32 = 4;
/// Layers of an image. Docker's storage drivers end at 127.
pub const MAX_LAYERS: usize = 512;

/// An image's manifest, with the bytes it came as.
#[derive(Debug, Clone)]
pub struct Found {
    pub digest: Digest,
    pub bytes: Vec<u8>,
    pub manifest: Manifest,
}

/// Gives a document's bytes, checked against its digest.
pub type Fetch<'a> = dyn FnMut(&Descriptor) -> Result<Vec<u8>> + 'a;

/// The image that a descriptor means for a platform: itself, or what an index has for it.
pub fn resolve(descriptor: &Descriptor, wanted: &Platform, fetch: &mut Fetch<'_>) -> Result<Found> {
    let mut descriptor = descriptor.clone();
    for _ in 0..=MAX_DEPTH {
        let bytes = document(&descriptor, fetch)?;
        match parse(&bytes, &descriptor.digest.to_string())? {
            Document::Index(index) => descriptor = platform::choose(&index.manifests, wanted)?.clone(),
            Document::Manifest(manifest) => {
                return Ok(Found { digest: descriptor.digest, bytes, manifest: *manifest });
            }
        }
    }
    Err(Error::Depth(MAX_DEPTH))
}

fn document(descriptor: &Descriptor, fetch: &mut Fetch<'_>) -> Result<Vec<u8>> {
    match descriptor.media_type.as_str() {
        media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => {}
        media_type::OCI_INDEX | media_type::DOCKER_LIST => {}
        // A registry that says nothing of use: the document tells.
        "" => {}
        other => return Err(Error::MediaType(escape(other).to_string())),
    }
    if descriptor.size > MAX_DOCUMENT {
        return Err(Error::DocumentSize(descriptor.digest.to_string()));
    }
    let bytes = fetch(descriptor)?;
    match bytes.len() as u64 == descriptor.size {
        true => Ok(bytes),
        false => Err(Error::BlobSize { blob: descriptor.digest, expected: descriptor.size }),
    }
}

enum Document {
    Index(Index),
    Manifest(Box<Manifest>),
}

/// What tells the kinds of document from each other.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// A document that could be read in two ways is refused (OCI image-spec, "Manifest", on CVE-2021-41190).
fn parse(bytes: &[u8], shown: &str) -> Result<Document> {
    let shape: Shape = json(bytes, shown)?;
    if shape.schema_version == 1 || shape.fs_layers.is_some() {
        return Err(Error::Schema1(shown.to_owned()));
    }
    let is_index = match (&shape.manifests, shape.layers.is_some() || shape.config.is_some()) {
        (Some(_), true) => return Err(Error::TwoKinds(shown.to_owned())),
        (Some(_), false) => true,
        (None, _) => false,
    };
    match (is_index, shape.media_type.as_str()) {
        (_, "")
        | (true, media_type::OCI_INDEX | media_type::DOCKER_LIST)
        | (false, media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST) => {}
        (_, other) => return Err(Error::MediaType(escape(other).to_string())),
    }
    if is_index {
        return Ok(Document::Index(json(bytes, shown)?));
    }
    let manifest: Manifest = json(bytes, shown)?;
    check(&manifest)?;
    Ok(Document::Manifest(Box::new(manifest)))
}

/// Whether a manifest is that of an image, and of one that can be had.
fn check(manifest: &Manifest) -> Result<()> {
    match manifest.config.media_type.as_str() {
        media_type::OCI_CONFIG | media_type::DOCKER_CONFIG | "" => {}
        other => return Err(Error::Artifact(escape(other).to_string())),
    }
    if manifest.layers.len() > MAX_LAYERS {
        return Err(Error::TooManyLayers { found: manifest.layers.len(), limit: MAX_LAYERS });
    }
    manifest.layers.iter().try_for_each(|layer| check_layer(&layer.media_type))
}

/// How a layer is compressed shows in its bytes; that it is one has to be said.
fn check_layer(media_type: &str) -> Result<()> {
    let shown = || escape(media_type).to_string();
    if media_type.ends_with("+encrypted") {
        return Err(Error::Encrypted(shown()));
    }
    let (foreign, plain) = (media_type::FOREIGN_LAYERS, media_type::LAYERS);
    if foreign.iter().any(|prefix| media_type.starts_with(prefix)) {
        return Err(Error::Foreign(shown()));
    }
    match media_type.is_empty() || plain.iter().any(|prefix| media_type.starts_with(prefix)) {
        true => Ok(()),
        false => Err(Error::Artifact(shown())),
    }
}

pub fn json<T: DeserializeOwned>(bytes: &[u8], shown: &str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|source| Error::Json { document: escape(shown).to_string(), source })
}

/// Whether a document is the one its name says.
pub fn verify(shown: &str, bytes: &[u8], expected: &Digest) -> Result<()> {
    let found = Digest::of(bytes);
    if found == *expected {
        return Ok(());
    }
    Err(Error::Corrupt { document: escape(shown).to_string(), expected: *expected, found })
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
