//! `save`: images as one tar archive, in the form that docker writes since release 25.
//!
//! It is an OCI image layout, with the manifests and blobs as they came, and has beside its index what
//! docker archives have: `manifest.json`, whose layers are the same blobs (docker, podman and skopeo
//! decompress what they find there), and `repositories`. Equal images give equal bytes: everything is
//! sorted and from 1970.

mod select;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde_json::{Value, json};

use super::digest::Digest;
use super::error::Result;
use super::gc;
use super::naming::Naming;
use super::reference::Reference;
use super::source::{LayerSource, Source};
use super::spec::media_type;
use crate::store::Store;
use writer::TarWriter;

pub use writer::SaveError;

/// An image and the names it is saved under.
struct Chosen {
    source: Source,
    names: Vec<Reference>,
}

/// Writes images, by name or id, to `out`. A repository's name without a tag means all its tags.
pub fn save(store: &Store, naming: &Naming, wanted: &[String], out: impl Write) -> Result<()> {
    let _held = gc::hold(store)?;
    select::choose(store, naming, wanted).and_then(|chosen| Archive::of(&chosen).write(store, out))
}

/// What goes into the archive.
struct Archive<'a> {
    chosen: &'a [Chosen],
    documents: BTreeMap<Digest, &'a [u8]>,
    layers: BTreeMap<Digest, &'a LayerSource>,
}

impl<'a> Archive<'a> {
    fn of(chosen: &'a [Chosen]) -> Self {
        let mut archive = Self { chosen, documents: BTreeMap::new(), layers: BTreeMap::new() };
        for Chosen { source, .. } in chosen {
            archive.documents.insert(source.id, &source.config);
            archive.documents.insert(source.digest, &source.manifest);
            archive.layers.extend(source.layers.iter().map(|layer| (layer.descriptor.digest, layer)));
        }
        archive
    }

    fn write(&self, store: &Store, out: impl Write) -> Result<()> {
        let mut tar = TarWriter::new(out);
        tar.directory("blobs/")?;
        tar.directory("blobs/sha256/")?;
        let digests: BTreeSet<_> = self.documents.keys().chain(self.layers.keys()).collect();
        for digest in digests {
            match (self.documents.get(digest), self.layers.get(digest)) {
                (Some(bytes), _) => tar.document(&blob_name(digest), bytes)?,
                (None, Some(layer)) => {
                    let (size, mut blob) = layer.blob(store)?;
                    tar.file(&blob_name(digest), size, &mut blob)?;
                }
                (None, None) => {}
            }
        }
        let json = |value: Value| value.to_string().into_bytes();
        tar.document("index.json", &json(self.index()))?;
        tar.document("manifest.json", &json(self.manifest()))?;
        tar.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let repositories = self.repositories();
        if !repositories.is_empty() {
            tar.document("repositories", &json(json!(repositories)))?;
        }
        Ok(tar.finish()?)
    }

    /// OCI image-spec, "Image Layout": a descriptor a name, with containerd's annotation and OCI's.
    fn index(&self) -> Value {
        let mut manifests = Vec::new();
        for Chosen { source, names } in self.chosen {
            let plain = json!({
                "mediaType": source.media_type,
                "digest": source.digest,
                "size": source.manifest.len(),
            });
            if names.is_empty() {
                manifests.push(plain.clone());
            }
            for name in names {
                let mut named = plain.clone();
                named["annotations"] = json!({
                    "io.containerd.image.name": name.to_string(),
                    "org.opencontainers.image.ref.name": name.tag,
                });
                manifests.push(named);
            }
        }
        json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests })
    }

    /// Docker's own index.
    fn manifest(&self) -> Value {
        let images = self.chosen.iter().map(|Chosen { source, names }| {
            let tags: Vec<_> = names.iter().map(Reference::familiar).collect();
            let layers = source.layers.iter().map(|layer| blob_name(&layer.descriptor.digest));
            json!({
                "Config": blob_name(&source.id),
                // As docker has it for an image without names.
                "RepoTags": if tags.is_empty() { Value::Null } else { json!(tags) },
                "Layers": layers.collect::<Vec<_>>(),
            })
        });
        images.collect()
    }

    /// Docker's first index: which layer a tag's image ends with.
    fn repositories(&self) -> BTreeMap<String, BTreeMap<&str, String>> {
        let mut repositories: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for Chosen { source, names } in self.chosen {
            let Some(top) = source.layers.last() else { continue };
            for name in names {
                if let Some(tag) = &name.tag {
                    let tags = repositories.entry(name.familiar_repository()).or_default();
                    tags.insert(tag.as_str(), top.descriptor.digest.hex());
                }
            }
        }
        repositories
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

#[cfg(test)]
mod tests;
