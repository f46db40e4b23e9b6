//! What a registry is given of an image: a manifest whose layers are all compressed.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::image::digest::{Digest, HashingWriter};
use crate::image::error::{Error, Result};
use crate::image::reference::Reference;
use crate::image::source::{self, LayerSource, Source};
use crate::image::spec::{MAX_DOCUMENT, Manifest, media_type};
use crate::image::{document, ingest};
use crate::store::Store;
use crate::store::db::images::ImageRow;

/// What gzip(1) and docker take.
const LEVEL: u32 = 6;

/// The image as its name means it, if that can be pushed as it is; else with its plain layers compressed,
/// which is done once and kept.
pub fn source(store: &Store, row: &ImageRow, name: &Reference) -> Result<Source> {
    let own = source::named(store, row, Some(name))?;
    if !own.layers.iter().any(LayerSource::is_plain) {
        return Ok(own);
    }
    match made_before(store, row)? {
        Some(packed) => Ok(packed),
        None => pack(store, row, &own),
    }
}

/// What an earlier push made.
fn made_before(store: &Store, row: &ImageRow) -> Result<Option<Source>> {
    for (digest, bytes) in store.db().blobs_of(&row.id)? {
        let fits = |source: &Source| {
            source
                .layers
                .iter()
                .all(|layer| !layer.is_plain() && store.paths().blob(&layer.descriptor.digest).exists())
        };
        if bytes <= MAX_DOCUMENT
            && let Some(source) = source::open(store, &row.id, &digest).ok().filter(fits)
        {
            return Ok(Some(source));
        }
    }
    Ok(None)
}

fn pack(store: &Store, row: &ImageRow, own: &Source) -> Result<Source> {
    let shown = || format!("the manifest {}", own.digest);
    let mut manifest: Manifest = document::json(&own.manifest, &shown())?;
    let blobs = compress_all(store, &own.layers)?;
    let is_docker = own.media_type == media_type::DOCKER_MANIFEST;
    for (layer, packed) in manifest.layers.iter_mut().zip(&blobs) {
        if let Some((digest, bytes)) = packed {
            layer.digest = *digest;
            layer.size = *bytes;
            layer.media_type =
                if is_docker { media_type::DOCKER_GZIP } else { media_type::OCI_GZIP }.to_owned();
        }
    }
    let bytes = serde_json::to_vec(&manifest).map_err(|source| Error::Json { document: shown(), source })?;
    let [digest] = ingest::add_blobs(store, [&bytes])?;
    let mut rows: Vec<_> = blobs.into_iter().flatten().collect();
    rows.push((digest, bytes.len() as u64));
    store.db().add_blobs(&row.id, &rows)?;
    source::open(store, &row.id, &digest)
}

/// A blob's digest and size, where one was made.
type Packed = Option<(Digest, u64)>;

/// A gzip blob of each layer that is plain, several at a time.
fn compress_all(store: &Store, layers: &[LayerSource]) -> Result<Vec<Packed>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Ok(vec![None; layers.len()]));
    let worker = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(layer) = layers.get(index) else { return };
            if !layer.is_plain() {
                continue;
            }
            let outcome = compress(store, layer);
            let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match (outcome, done.as_mut()) {
                (Ok(packed), Ok(all)) => {
                    all.iter_mut().skip(index).take(1).for_each(|place| *place = Some(packed))
                }
                (Err(error), Ok(_)) => *done = Err(error),
                (_, Err(_)) => return,
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(layers.len());
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(worker);
        }
        worker();
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The same tar gives the same bytes: no time, no name.
fn compress(store: &Store, layer: &LayerSource) -> Result<(Digest, u64)> {
    let mut tar = layer.tar(store)?;
    let temp = store.temp_file()?;
    let failed = |source: io::Error| Error::Pack { layer: layer.row.diff_id, source };
    let mut encoder = GzEncoder::new(HashingWriter::new(temp.file()), Compression::new(LEVEL));
    io::copy(&mut tar, &mut encoder).map_err(failed)?;
    let mut written = encoder.finish().map_err(failed)?;
    written.flush().map_err(failed)?;
    let (digest, bytes, _) = written.finish();
    temp.adopt(&store.paths().blob(&digest))?;
    Ok((digest, bytes))
}
