//! The merged root of an image: one small EROFS file whose inodes point into the layers' files.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::convert::uuid;
use super::digest::Digest;
use super::layer::erofs::ErofsError;
use super::layer::erofs::format::BLOCK;
use super::layer::erofs::reader::{self, LayerReader};
use super::layer::erofs::writer::{self, Device, Kind};
use super::layer::merge::{self, MergeError};
use super::layer::tree::Tree;
use crate::store::{self, Store, TempFile};

/// Bytes of a disk's sector.
const SECTOR: u64 = 512;

#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error("Failed to read the layer file {}", .path.display())]
    Layer { path: PathBuf, source: ErofsError },
    #[error("Failed to put the layer {layer} on top of those below")]
    Merge { layer: Digest, source: MergeError },
    #[error("Failed to write the merged root")]
    Write(#[source] ErofsError),
    #[error("the image has more than 65535 layers")]
    TooMany,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// How an image's root file system is mounted: as one flat read-only disk of all these files, or as
/// the metadata file with a `device=` option for each layer, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    pub chain_id: Digest,
    pub metadata: PathBuf,
    pub metadata_blocks: u32,
    /// Sectors of the metadata, which come first on the flat disk.
    pub metadata_sectors: u64,
    pub layers: Vec<RootLayer>,
    /// Sectors of the flat disk.
    pub total_sectors: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootLayer {
    pub path: PathBuf,
    /// Where it begins on the flat disk.
    pub start_sector: u64,
    pub sectors: u64,
}

/// A chain of layers' id (OCI image-spec, "Layer ChainID").
pub fn chain_id(diff_ids: &[Digest]) -> Digest {
    let mut chain = None;
    for diff_id in diff_ids {
        chain = Some(match chain {
            None => *diff_id,
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        });
    }
    // Of no layers there is none; the digest of nothing stands for it.
    chain.unwrap_or_else(|| Digest::of(b""))
}

/// The merged root of a chain of layers that are in the store; made if it is not there yet, with no
/// more entries than `max_entries`. The caller holds the store's files.
pub fn ensure(store: &Store, diff_ids: &[Digest], max_entries: u64) -> Result<Root, RootError> {
    let chain = chain_id(diff_ids);
    match open(store, &chain) {
        Ok(root) => Ok(root),
        // Not there, or damaged: either way it is made from the layers.
        Err(_) => {
            make(store, diff_ids, max_entries)?.adopt(&store.paths().merged_root(&chain))?;
            open(store, &chain)
        }
    }
}

/// The merged root of a chain of layers, if it is there and whole.
pub fn existing(store: &Store, diff_ids: &[Digest]) -> Option<Root> {
    open(store, &chain_id(diff_ids)).ok()
}

/// Reads from the metadata file how a root is put together.
fn open(store: &Store, chain: &Digest) -> Result<Root, RootError> {
    let metadata = store.paths().merged_root(chain);
    let file = File::open(&metadata).map_err(|e| store::Error::io("open", &metadata, e))?;
    let damaged = |source| RootError::Layer { path: metadata.clone(), source };
    let (superblock, slots) = reader::devices(&file).map_err(damaged)?;
    let mut layers = Vec::with_capacity(slots.len());
    let mut total = sectors(superblock.blocks);
    for slot in &slots {
        let diff_id = std::str::from_utf8(&slot.tag).ok().and_then(|hex| Digest::from_hex(hex).ok());
        let diff_id = diff_id.ok_or_else(|| damaged(ErofsError::Damaged("a device that is no layer")))?;
        let layer = RootLayer {
            path: store.paths().layer(&diff_id),
            start_sector: sectors(slot.mapped_block),
            sectors: sectors(slot.blocks),
        };
        total = layer.start_sector + layer.sectors;
        layers.push(layer);
    }
    Ok(Root {
        chain_id: *chain,
        metadata_blocks: superblock.blocks,
        metadata_sectors: sectors(superblock.blocks),
        layers,
        total_sectors: total,
        metadata,
    })
}

fn sectors(blocks: u32) -> u64 {
    u64::from(blocks) * (BLOCK / SECTOR)
}

/// Merges a chain of layers into a file that has not its place yet. Equal layers give equal bytes.
pub(super) fn make(store: &Store, diff_ids: &[Digest], max_entries: u64) -> Result<TempFile, RootError> {
    let Merged { tree, devices, .. } = merged(store, diff_ids, max_entries)?;
    let temp = store.temp_file()?;
    writer::write(temp.file(), &tree, &Kind::Merged { devices: &devices }, uuid(&chain_id(diff_ids)))
        .map_err(RootError::Write)?;
    Ok(temp)
}

/// The tree of a chain of layers.
pub(super) struct Merged {
    pub tree: Tree,
    /// Of the layers that have data; the tree counts them from 1.
    pub devices: Vec<Device>,
    /// Their files, in the same order.
    pub files: Vec<File>,
}

pub(super) fn merged(store: &Store, diff_ids: &[Digest], max_entries: u64) -> Result<Merged, RootError> {
    let mut tree = Tree::with_ceiling(max_entries);
    let mut devices: Vec<Device> = Vec::new();
    let mut files = Vec::new();
    // A layer may be in a chain twice; layers without data need no device.
    let mut numbers = HashMap::new();
    for diff_id in diff_ids {
        let path = store.paths().layer(diff_id);
        let file = File::open(&path).map_err(|e| store::Error::io("open", &path, e))?;
        let layer = LayerReader::open(&file).map_err(|source| RootError::Layer { path, source })?;
        let number = match numbers.get(diff_id) {
            Some(number) => *number,
            None if !layer.has_data() => 0,
            None => {
                devices.push(Device { tag: tag(diff_id), blocks: layer.blocks() });
                u16::try_from(devices.len()).map_err(|_| RootError::TooMany)?
            }
        };
        numbers.insert(*diff_id, number);
        merge::apply(&mut tree, &layer, number)
            .map_err(|source| RootError::Merge { layer: *diff_id, source })?;
        if devices.len() > files.len() {
            files.push(file);
        }
    }
    Ok(Merged { tree, devices, files })
}

/// The diff id's digits fill the tag exactly.
fn tag(diff_id: &Digest) -> [u8; 64] {
    let mut tag = [0; 64];
    for (place, digit) in tag.iter_mut().zip(diff_id.hex().bytes()) {
        *place = digit;
    }
    tag
}
