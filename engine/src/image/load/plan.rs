//! From an archive's documents to the images in it.

use std::collections::BTreeMap;
use std::io::Read;

use super::super::digest::Digest;
use super::super::document::{self, Found, json as parse, verify};
use super::super::error::{Error, Result};
use super::super::ingest;
use super::super::platform;
use super::super::reference::Reference;
use super::super::spec::{ArchiveImage, Descriptor, ImageConfig, Index, MAX_DOCUMENT};
use super::{Members, PlannedLayer};
use crate::text::escape;

/// Where containerd, and Docker with it, writes an image's name in full.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// OCI's own, often just a tag.
const OCI_NAME: &str = "org.opencontainers.image.ref.name";

/// An image to be loaded. There are as many layers as the config has diff ids.
pub struct Planned {
    pub config: ImageConfig,
    pub config_bytes: Vec<u8>,
    pub manifest: Option<Vec<u8>>,
    pub layers: Vec<PlannedLayer>,
    pub names: Vec<Reference>,
}

impl Planned {
    /// Each layer with its diff id, lowest first.
    pub fn chain(&self) -> impl Iterator<Item = (&PlannedLayer, &Digest)> {
        self.layers.iter().zip(&self.config.rootfs.diff_ids)
    }
}

/// The images of an archive. `docker save` writes both kinds of index since release 25; then the OCI
/// one counts, and the names of both.
pub fn plan(members: &dyn Members) -> Result<Vec<Planned>> {
    let archive: Option<Vec<ArchiveImage>> = match read(members, "manifest.json")? {
        Some(bytes) => Some(parse(&bytes, "manifest.json")?),
        None => None,
    };
    match (read(members, "index.json")?, archive) {
        (Some(index), archive) => {
            let index: Index = parse(&index, "index.json")?;
            let mut images = plan_index(members, &index)?;
            add_names(&mut images, &archive.unwrap_or_default())?;
            Ok(images)
        }
        (None, Some(archive)) if !archive.is_empty() => {
            archive.into_iter().map(|image| plan_archive_image(members, image)).collect()
        }
        (None, _) => Err(Error::NoImages),
    }
}

fn plan_archive_image(members: &dyn Members, image: ArchiveImage) -> Result<Planned> {
    let config_bytes = needed(members, &image.config)?;
    let config = ingest::parse_config(&config_bytes, &image.config)?;
    // Up to release 24 the file's name, later its path, is the config's digest.
    let stem = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    if let Ok(expected) = Digest::from_hex(stem) {
        verify(&image.config, &config_bytes, &expected)?;
    }
    let layers = image.layers.into_iter().map(|member| PlannedLayer { member, blob: None }).collect();
    let names = image.repo_tags.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    checked(Planned { config, config_bytes, manifest: None, layers, names })
}

/// Follows an image layout's index to the images for this machine.
fn plan_index(members: &dyn Members, index: &Index) -> Result<Vec<Planned>> {
    let mut images: Vec<(Digest, Planned)> = Vec::new();
    for descriptor in &index.manifests {
        let names = names_of(descriptor)?;
        let found = document::resolve(descriptor, &platform::host(), &mut |descriptor| {
            let name = blob_name(&descriptor.digest);
            let bytes = needed(members, &name)?;
            verify(&name, &bytes, &descriptor.digest)?;
            Ok(bytes)
        })?;
        match images.iter_mut().find(|(digest, _)| *digest == found.digest) {
            Some((_, known)) => known.names.extend(names),
            None => images.push((found.digest, plan_manifest(members, found, names)?)),
        }
    }
    if images.is_empty() {
        return Err(Error::NoImages);
    }
    Ok(images.into_iter().map(|(_, planned)| planned).collect())
}

fn plan_manifest(members: &dyn Members, found: Found, names: Vec<Reference>) -> Result<Planned> {
    let Found { bytes, manifest, .. } = found;
    let config_name = blob_name(&manifest.config.digest);
    let config_bytes = needed(members, &config_name)?;
    verify(&config_name, &config_bytes, &manifest.config.digest)?;
    let config = ingest::parse_config(&config_bytes, &config_name)?;
    let layers = manifest
        .layers
        .iter()
        .map(|layer| PlannedLayer { member: blob_name(&layer.digest), blob: Some(layer.digest) });
    let layers = layers.collect();
    checked(Planned { config, config_bytes, manifest: Some(bytes), layers, names })
}

fn checked(planned: Planned) -> Result<Planned> {
    let (manifest, config) = (planned.layers.len(), planned.config.rootfs.diff_ids.len());
    if manifest == config { Ok(planned) } else { Err(Error::LayerCount { manifest, config }) }
}

/// Names that a descriptor carries: containerd's in full, or OCI's, read as Docker reads short names.
fn names_of(descriptor: &Descriptor) -> Result<Vec<Reference>> {
    if let Some(name) = descriptor.annotations.get(CONTAINERD_NAME) {
        return Ok(vec![name.parse()?]);
    }
    // Not every text that OCI allows here is a name; an image without one is loaded all the same.
    Ok(descriptor.annotations.get(OCI_NAME).and_then(|name| name.parse().ok()).into_iter().collect())
}

/// Adds the names that manifest.json has for the same configs.
fn add_names(images: &mut [Planned], archive: &[ArchiveImage]) -> Result<()> {
    let mut tags = BTreeMap::new();
    for image in archive {
        tags.insert(image.config.as_str(), &image.repo_tags);
    }
    for planned in images {
        let config = blob_name(&Digest::of(&planned.config_bytes));
        for tag in tags.get(config.as_str()).into_iter().flat_map(|tags| tags.iter()) {
            let name: Reference = tag.parse()?;
            if !planned.names.contains(&name) {
                planned.names.push(name);
            }
        }
    }
    Ok(())
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn needed(members: &dyn Members, name: &str) -> Result<Vec<u8>> {
    read(members, name)?.ok_or_else(|| Error::Missing(escape(name).to_string()))
}

fn read(members: &dyn Members, name: &str) -> Result<Option<Vec<u8>>> {
    let Some(stream) = members.open(name)? else { return Ok(None) };
    let mut bytes = Vec::new();
    stream
        .take(MAX_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Member { member: escape(name).to_string(), source })?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(Error::DocumentSize(escape(name).to_string()));
    }
    Ok(Some(bytes))
}
