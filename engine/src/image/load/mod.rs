//! `load`: docker archives and OCI image layouts, as folder, as tar file or as stream.
//!
//! Folders and plain tar files can be read at any place: the manifest first, then only the layers
//! that the store lacks, in parallel. A stream (stdin, or a compressed archive) is converted as it
//! goes by, since its manifest may come last.
//!
//! What is kept: manifests and configs always; a layer's compressed form if the archive has one and
//! its manifest names it, because a push must give the same bytes. Of a docker archive's plain tars
//! only a recipe is kept ([`super::recipe`]).

mod archive;
mod folder;
mod plan;
mod stream;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::convert::{self, Converted, Options};
use super::decompress::{self, Compression};
use super::digest::{Digest, HashingReader};
use super::error::{Error, Result};
use super::gc;
use super::ingest::{self, Layer, Parts};
use super::layer::names;
use super::recipe;
use super::reference::Reference;
use crate::store::Store;
use crate::text::escape;
use plan::Planned;

/// Descriptors that a load may want.
const MAX_DESCRIPTORS: u64 = 16 << 10;
/// Bytes of all documents of an archive together.
const MAX_DOCUMENTS: u64 = 64 << 20;

/// Where images are loaded from.
pub enum Input<'a> {
    /// A folder or a file.
    Path(&'a Path),
    Stream(&'a mut (dyn Read + Send)),
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub id: Digest,
    pub names: Vec<Reference>,
}

/// Files of an archive, by name: relative, cleaned, `/` between.
trait Members: Sync {
    /// `None`: there is no such file.
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send + '_>>>;
}

/// How many images an archive is said to hold. For tests/fuzz: the rest of a load needs a store.
#[cfg(fuzzing)]
pub fn plan_only(archive: &File) -> Result<usize> {
    Ok(plan::plan(&archive::Archive::index(archive)?)?.len())
}

/// A member's name, cleaned as a layer's names are. `None` for what no manifest can name.
fn member_name(path: &[u8]) -> Option<String> {
    let parts = names::components(path).ok().filter(|parts| !parts.is_empty())?;
    String::from_utf8(parts.join(&b'/')).ok()
}

/// Loads every image that runs on this machine from an archive. Either all of them are in the store
/// afterwards, or the store is as it was.
pub fn load(store: &Store, input: Input<'_>, options: Options) -> Result<Vec<Loaded>> {
    allow_descriptors();
    let loaded = {
        let _held = gc::hold(store)?;
        match input {
            Input::Stream(stream) => load_stream(store, stream, options),
            Input::Path(path) => load_path(store, path, options),
        }
    };
    // Also after a failure: a layer may have been adopted before it.
    let collected = gc::collect(store);
    let loaded = loaded?;
    collected?;
    Ok(loaded)
}

/// Raises this process's limit on open files as far as it may: until all of an archive is checked its layers
/// are temporary files that are held open, up to three each, and 1024 is a common limit.
fn allow_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where it may not be, many layers end in an error that says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(MAX_DESCRIPTORS)), hard);
    }
}

fn load_path(store: &Store, path: &Path, options: Options) -> Result<Vec<Loaded>> {
    let failed = |e| Error::io("open", path, e);
    let file = File::open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_dir() {
        return load_members(store, &folder::Folder::new(file, path), options);
    }
    let mut head = [0; 8];
    let compression = match kind.is_file() {
        true => {
            let n = std::os::unix::fs::FileExt::read_at(&file, &mut head, 0).map_err(failed)?;
            decompress::detect(head.get(..n).unwrap_or_default()).ok()
        }
        false => None,
    };
    match compression {
        Some(Compression::None) => load_members(store, &archive::Archive::index(&file)?, options),
        _ => load_stream(store, file, options),
    }
}

fn load_stream(store: &Store, stream: impl Read + Send, options: Options) -> Result<Vec<Loaded>> {
    let plain = decompress::open(stream).map_err(Error::Input)?;
    let streamed = stream::Streamed::read(store, plain, options)?;
    let mut planned = plan::plan(&streamed)?;
    for layer in planned.iter_mut().flat_map(|image| &mut image.layers) {
        layer.member = streamed.target(&layer.member);
    }
    finish(store, planned, streamed.into_layers(), None, options)
}

fn load_members(store: &Store, members: &dyn Members, options: Options) -> Result<Vec<Loaded>> {
    let planned = plan::plan(members)?;
    let converted = convert_missing(store, members, &planned, options)?;
    finish(store, planned, converted, Some(members), options)
}

/// Converted layers, by their file in the archive.
type Pool = HashMap<String, Converted>;

/// From converted layers to images in the store. Everything is checked before the first file gets
/// its place, and all images get their rows in one transaction.
fn finish(
    store: &Store,
    planned: Vec<Planned>,
    pool: Pool,
    members: Option<&dyn Members>,
    options: Options,
) -> Result<Vec<Loaded>> {
    let mut new = HashSet::new();
    for (layer, diff_id) in planned.iter().flat_map(Planned::chain) {
        if let Some(converted) = pool.get(&layer.member) {
            check_size(layer, converted.blob_bytes)?;
            check_diff_id(layer, diff_id, converted.diff_id())?;
            new.insert(*diff_id);
        } else if !new.contains(diff_id) && ingest::known_layer(store, diff_id)?.is_none() {
            return Err(Error::Missing(escape(&layer.member).to_string()));
        }
    }
    let mut rows = HashMap::new();
    for (member, mut converted) in pool {
        let diff_id = converted.diff_id();
        let mut users = planned.iter().flat_map(|image| &image.layers).filter(|layer| layer.member == member);
        let plain = users.clone().any(|layer| layer.is_plain(&diff_id));
        if users.next().is_some() {
            if !plain {
                converted.forget_recipe();
            }
            let row = converted.adopt(store)?;
            rows.insert(row.diff_id, row);
        }
    }
    let mut images = Vec::new();
    let mut loaded = Vec::new();
    for image in planned {
        let mut layers = Vec::new();
        for (layer, diff_id) in image.chain() {
            let row = match rows.get(diff_id) {
                Some(row) => Some(row.clone()),
                None => ingest::known_layer(store, diff_id)?,
            };
            let row = row.ok_or_else(|| Error::Missing(escape(&layer.member).to_string()))?;
            layers.push(Layer { row, blob: kept_blob(store, members, layer, diff_id)? });
        }
        let Planned { config, config_bytes, manifest, names, .. } = image;
        let max_entries = options.max_entries;
        let parts = Parts { config: config_bytes, manifest, layers, names: names.clone(), max_entries };
        let new = ingest::prepare(store, parts, &config)?;
        loaded.push(Loaded { id: new.id, names });
        images.push(new);
    }
    store.db().add_images(&images)?;
    Ok(loaded)
}

/// What a manifest says of a layer: its file in the archive, and its digest if the archive says one.
#[derive(Debug, Clone)]
struct PlannedLayer {
    member: String,
    blob: Option<Digest>,
    /// Of the blob, as its manifest has it; 0 where nothing is said.
    bytes: u64,
}

impl PlannedLayer {
    /// Whether the image's manifest names the tar itself, which is not kept but made again.
    fn is_plain(&self, diff_id: &Digest) -> bool {
        self.blob.is_none_or(|blob| blob == *diff_id)
    }

    fn shown(&self) -> String {
        format!("\"{}\"", escape(&self.member))
    }
}

/// Converts the layers that the store lacks, several at a time. The first failure stops the rest.
fn convert_missing(
    store: &Store,
    members: &dyn Members,
    planned: &[Planned],
    options: Options,
) -> Result<Pool> {
    let mut jobs = Vec::new();
    let mut seen = HashSet::new();
    for image in planned {
        for (layer, diff_id) in image.chain() {
            let needed = layer.is_plain(diff_id);
            let known = ingest::known_layer(store, diff_id)?.is_some();
            // Compressed, or from an older release, a layer has no recipe.
            let has_form = !needed || recipe::exists(store, diff_id);
            if seen.insert((*diff_id, needed)) && !(known && has_form) {
                jobs.push((layer, *diff_id));
            }
        }
    }
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let done = Mutex::new(Ok(Pool::new()));
    let worker = || {
        while let Some((layer, diff_id)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let outcome = convert_layer(store, members, layer, diff_id, options);
            let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match (outcome, done.as_mut()) {
                (Ok(converted), Ok(all)) => {
                    all.insert(layer.member.clone(), converted);
                }
                (Err(error), Ok(_)) => {
                    stop.store(true, Ordering::Relaxed);
                    *done = Err(error);
                }
                (_, Err(_)) => {}
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(worker);
        }
        worker();
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn convert_layer(
    store: &Store,
    members: &dyn Members,
    layer: &PlannedLayer,
    diff_id: &Digest,
    options: Options,
) -> Result<Converted> {
    let stream = open_layer(members, layer)?;
    let options = Options { keep: layer.blob.is_some(), ..options };
    let converted = convert::convert(store, stream, options)
        .map_err(|source| Error::Layer { layer: layer.shown(), source: Box::new(source) })?;
    check_blob(layer, converted.blob)?;
    check_size(layer, converted.blob_bytes)?;
    check_diff_id(layer, diff_id, converted.diff_id())?;
    Ok(converted)
}

fn open_layer<'a>(members: &'a dyn Members, layer: &PlannedLayer) -> Result<Box<dyn Read + Send + 'a>> {
    members.open(&layer.member)?.ok_or_else(|| Error::Missing(escape(&layer.member).to_string()))
}

fn check_blob(layer: &PlannedLayer, found: Digest) -> Result<()> {
    match layer.blob {
        Some(expected) if expected != found => {
            Err(Error::Corrupt { document: escape(&layer.member).to_string(), expected, found })
        }
        _ => Ok(()),
    }
}

fn check_size(layer: &PlannedLayer, found: u64) -> Result<()> {
    match layer.blob {
        Some(digest) => plan::check_size(&digest, layer.bytes, found),
        None => Ok(()),
    }
}

fn check_diff_id(layer: &PlannedLayer, expected: &Digest, found: Digest) -> Result<()> {
    if *expected == found {
        return Ok(());
    }
    Err(Error::DiffId { layer: layer.shown(), expected: *expected, found })
}

/// The compressed form of a layer, in the store; fetched, if the layer was known and this was not.
fn kept_blob(
    store: &Store,
    members: Option<&dyn Members>,
    layer: &PlannedLayer,
    diff_id: &Digest,
) -> Result<Option<(Digest, u64)>> {
    // A plain tar is not kept.
    let Some(blob) = layer.blob.filter(|blob| blob != diff_id) else { return Ok(None) };
    let bytes = match (store.paths().blob(&blob).metadata(), members) {
        (Ok(metadata), _) => metadata.len(),
        (Err(_), Some(members)) => keep_blob(store, members, layer, &blob)?,
        (Err(_), None) => return Ok(None),
    };
    check_size(layer, bytes)?;
    Ok(Some((blob, bytes)))
}

/// Copies a compressed layer into the store, checked; its size.
fn keep_blob(store: &Store, members: &dyn Members, layer: &PlannedLayer, blob: &Digest) -> Result<u64> {
    let mut stream = HashingReader::new(open_layer(members, layer)?);
    let temp = store.temp_file()?;
    let failed = |source: io::Error| Error::Member { member: escape(&layer.member).to_string(), source };
    io::copy(&mut stream, &mut temp.file()).map_err(failed)?;
    let (found, bytes) = stream.finish();
    check_blob(layer, found)?;
    temp.adopt(&store.paths().blob(blob))?;
    Ok(bytes)
}

#[cfg(test)]
pub(in crate::image) mod tests;

#[cfg(test)]
mod hostile_tests;
