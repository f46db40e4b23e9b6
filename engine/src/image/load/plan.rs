//! From an archive's documents to the images in it.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use super::super::digest::Digest;
use super::super::document::{self, Found, json as parse, verify};
use super::super::error::{Error, Result};
use super::super::ingest;
use super::super::platform;
use super::super::reference::Reference;
use super::super::spec::{ArchiveImage, Descriptor, ImageConfig, Index, MAX_DOCUMENT, MAX_LIST};
use super::{MAX_DOCUMENTS, Members, PlannedLayer};
use crate::text::escape;

/// Where containerd, and Docker with it, writes an image's name in full.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// OCI's own, often just a tag.
const OCI_NAME: &str = "org.opencontainers.image.ref.name";

/// An archive's documents, up to a sum: many manifests may name one large config, and each of these
/// images is held with its own.
struct Documents<'a> {
    members: &'a dyn Members,
    left: Cell<u64>,
}

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
    let documents = &Documents { members, left: Cell::new(MAX_DOCUMENTS) };
    let archive: Option<Vec<ArchiveImage>> = match read(documents, "manifest.json")? {
        Some(bytes) => Some(parse(&bytes, "manifest.json")?),
        None => None,
    };
    let tags: usize = archive.iter().flatten().map(|image| 1 + image.repo_tags.len()).sum();
    if tags > MAX_LIST {
        return Err(Error::Names);
    }
    match (read(documents, "index.json")?, archive) {
        (Some(index), archive) => {
            let index: Index = parse(&index, "index.json")?;
            let mut images = plan_index(documents, &index)?;
            add_names(&mut images, &archive.unwrap_or_default())?;
            Ok(images)
        }
        (None, Some(archive)) if !archive.is_empty() => {
            archive.into_iter().map(|image| plan_archive_image(documents, image)).collect()
        }
        (None, _) => Err(Error::NoImages),
    }
}

fn plan_archive_image(documents: &Documents<'_>, image: ArchiveImage) -> Result<Planned> {
    let config_bytes = needed(documents, &image.config)?;
    let config = ingest::parse_config(&config_bytes, &image.config)?;
    // Up to release 24 the file's name, later its path, is the config's digest.
    let stem = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    if let Ok(expected) = Digest::from_hex(stem) {
        verify(&image.config, &config_bytes, &expected)?;
    }
    let layers =
        image.layers.into_iter().map(|member| PlannedLayer { member, blob: None, bytes: 0 }).collect();
    let names = image.repo_tags.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    checked(Planned { config, config_bytes, manifest: None, layers, names })
}

/// Follows an image layout's index to the images for this machine.
fn plan_index(documents: &Documents<'_>, index: &Index) -> Result<Vec<Planned>> {
    let mut images: Vec<Planned> = Vec::new();
    let mut known = HashMap::new();
    for descriptor in &index.manifests {
        let names = names_of(descriptor)?;
        let found = document::resolve(descriptor, &platform::host(), &mut |descriptor| {
            let name = blob_name(&descriptor.digest);
            let bytes = needed(documents, &name)?;
            verify(&name, &bytes, &descriptor.digest)?;
            check_size(&descriptor.digest, descriptor.size, bytes.len() as u64)?;
            Ok(bytes)
        })?;
        match known.get(&found.digest).and_then(|at: &usize| images.get_mut(*at)) {
            Some(image) => image.names.extend(names),
            None => {
                known.insert(found.digest, images.len());
                images.push(plan_manifest(documents, found, names)?);
            }
        }
    }
    if images.is_empty() {
        return Err(Error::NoImages);
    }
    Ok(images)
}

fn plan_manifest(documents: &Documents<'_>, found: Found, names: Vec<Reference>) -> Result<Planned> {
    let Found { bytes, manifest, .. } = found;
    let config_name = blob_name(&manifest.config.digest);
    let config_bytes = needed(documents, &config_name)?;
    verify(&config_name, &config_bytes, &manifest.config.digest)?;
    check_size(&manifest.config.digest, manifest.config.size, config_bytes.len() as u64)?;
    let config = ingest::parse_config(&config_bytes, &config_name)?;
    let layers = manifest.layers.iter().map(|layer| PlannedLayer {
        member: blob_name(&layer.digest),
        blob: Some(layer.digest),
        bytes: layer.size,
    });
    let layers = layers.collect();
    checked(Planned { config, config_bytes, manifest: Some(bytes), layers, names })
}

/// Whether a blob has the size that its descriptor says, if it says one.
pub fn check_size(blob: &Digest, expected: u64, found: u64) -> Result<()> {
    if expected == 0 || expected == found {
        return Ok(());
    }
    Err(Error::BlobSize { blob: *blob, expected })
}

fn checked(planned: Planned) -> Result<Planned> {
    let (found, limit) = (planned.layers.len(), document::MAX_LAYERS);
    if found > limit {
        return Err(Error::TooManyLayers { found, limit });
    }
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

/// Adds the names that manifest.json has for the same configs, to the first image of each.
fn add_names(images: &mut [Planned], archive: &[ArchiveImage]) -> Result<()> {
    let mut tags = BTreeMap::new();
    for image in archive {
        tags.insert(image.config.as_str(), &image.repo_tags);
    }
    for planned in images {
        let config = blob_name(&Digest::of(&planned.config_bytes));
        for tag in tags.remove(config.as_str()).into_iter().flatten() {
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

fn needed(documents: &Documents<'_>, name: &str) -> Result<Vec<u8>> {
    read(documents, name)?.ok_or_else(|| Error::Missing(escape(name).to_string()))
}

fn read(documents: &Documents<'_>, name: &str) -> Result<Option<Vec<u8>>> {
    let Some(stream) = documents.members.open(name)? else { return Ok(None) };
    let mut bytes = Vec::new();
    stream
        .take(MAX_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Member { member: escape(name).to_string(), source })?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(Error::DocumentSize(escape(name).to_string()));
    }
    let left = documents.left.get().checked_sub(bytes.len() as u64).ok_or(Error::Documents)?;
    documents.left.set(left);
    Ok(Some(bytes))
}
