//! Layers from a registry into the store, several at a time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::progress::Progress;
use crate::image::convert::{self, Converted};
use crate::image::decompress;
use crate::image::digest::{Digest, HashingReader};
use crate::image::error::{Error, Result};
use crate::image::ingest::{self, Layer};
use crate::image::recipe;
use crate::image::spec::Descriptor;
use crate::registry::Repository;
use crate::store::db::images::LayerRow;
use crate::store::{self, PassingLock, Store};

/// Layers that are fetched at a time, as by docker.
const WORKERS: usize = 3;

/// A layer of the image, lowest first.
#[derive(Debug)]
pub struct Job {
    pub blob: Descriptor,
    pub diff_id: Digest,
    /// Layer file and blob were here from the start, or another of the image's layers is the same.
    pub present: bool,
}

impl Job {
    /// Whether the blob is the tar itself. Then no blob is kept, and a recipe makes it again.
    fn is_plain(&self) -> bool {
        self.blob.digest == self.diff_id
    }

    fn is_same(&self, other: &Job) -> bool {
        (self.blob.digest, self.diff_id) == (other.blob.digest, other.diff_id)
    }
}

pub fn jobs(store: &Store, blobs: &[Descriptor], diff_ids: &[Digest]) -> Result<Vec<Job>> {
    let mut jobs: Vec<Job> = Vec::new();
    for (blob, diff_id) in blobs.iter().zip(diff_ids) {
        let mut job = Job { blob: blob.clone(), diff_id: *diff_id, present: false };
        let here = Here::look(store, &job)?;
        job.present = (here.row.is_some() && here.blob) || jobs.iter().any(|known| known.is_same(&job));
        jobs.push(job);
    }
    Ok(jobs)
}

/// What the store has of a layer.
struct Here {
    row: Option<LayerRow>,
    /// The blob, or what makes it again.
    blob: bool,
}

impl Here {
    fn look(store: &Store, job: &Job) -> Result<Self> {
        let row = ingest::known_layer(store, &job.diff_id)?;
        let blob = match (&row, job.is_plain()) {
            (Some(row), true) => row.tar_bytes == job.blob.size && recipe::exists(store, &job.diff_id),
            (None, true) => false,
            // Of another size it is damaged, or the descriptor lies: the registry's own tells which.
            (_, false) => ingest::is_file_of(&store.paths().blob(&job.blob.digest), job.blob.size),
        };
        Ok(Self { row, blob })
    }
}

/// Fetches what the store lacks. The first failure stops the rest; what is finished by then stays.
pub fn fetch(
    store: &Store,
    repository: &Repository,
    jobs: &[Job],
    options: convert::Options,
    progress: &dyn Progress,
) -> Result<Vec<Layer>> {
    let fetching = Fetching {
        store,
        repository,
        options: convert::Options { keep: true, ..options },
        progress,
        stop: AtomicBool::new(false),
        done: Mutex::new(Ok(HashMap::new())),
    };
    // An image may have a layer twice.
    let mut distinct: Vec<(usize, &Job)> = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        if !distinct.iter().any(|(_, known)| known.is_same(job)) {
            distinct.push((index, job));
        }
    }
    fetching.run(&distinct);
    let rows = fetching.done.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    let layer = |job: &Job| {
        let row = rows.get(&job.diff_id).cloned();
        let row =
            row.ok_or_else(|| store::Error::NotFound { what: "layer", name: job.diff_id.to_string() })?;
        Ok(Layer { row, blob: (!job.is_plain()).then_some((job.blob.digest, job.blob.size)) })
    };
    jobs.iter().map(layer).collect()
}

struct Fetching<'a> {
    store: &'a Store,
    repository: &'a Repository,
    options: convert::Options,
    progress: &'a dyn Progress,
    stop: AtomicBool,
    done: Mutex<Result<HashMap<Digest, LayerRow>>>,
}

impl Fetching<'_> {
    fn run(&self, jobs: &[(usize, &Job)]) {
        let next = AtomicUsize::new(0);
        let busy = Mutex::new(Vec::new());
        let worker = || {
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                match PassingLock::attempt(&self.store.paths().blob_lock(&job.1.blob.digest)) {
                    // Another process has it: whatever else there is to do comes first.
                    Ok(None) => busy.lock().unwrap_or_else(PoisonError::into_inner).push(*job),
                    Ok(Some(held)) => self.finish(*job, Ok(held)),
                    Err(error) => self.finish(*job, Err(error)),
                }
            }
            loop {
                let job = busy.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some(job) = job else { return };
                self.finish(job, PassingLock::wait(&self.store.paths().blob_lock(&job.1.blob.digest)));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..WORKERS.min(jobs.len()) {
                scope.spawn(worker);
            }
            worker();
        });
    }

    /// Fetches a layer, unless one has failed, and notes what came of it.
    fn finish(&self, (index, job): (usize, &Job), held: store::Result<PassingLock>) {
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        let outcome = held.map_err(Error::from).and_then(|_held| self.layer(index, job));
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        match (outcome, done.as_mut()) {
            (Ok(row), Ok(rows)) => {
                rows.insert(job.diff_id, row);
                if !job.present {
                    self.progress.finished(index);
                }
            }
            (Err(error), Ok(_)) => {
                self.stop.store(true, Ordering::Relaxed);
                *done = Err(error);
            }
            (_, Err(_)) => {}
        }
    }

    /// Looks again what is there: another process may have brought it.
    fn layer(&self, index: usize, job: &Job) -> Result<LayerRow> {
        let here = Here::look(self.store, job)?;
        match (here.row, here.blob) {
            (Some(row), true) => Ok(row),
            (Some(row), false) if !job.is_plain() => self.blob(index, job, &row).map(|()| row),
            // The layer file was lost, or is of an older format.
            (None, true) => match self.convert_own(job) {
                Ok(row) => Ok(row),
                Err(_) => self.convert(index, job),
            },
            // Of a plain tar that is known, its recipe is missing.
            (_, false) => self.convert(index, job),
        }
    }

    fn convert(&self, index: usize, job: &Job) -> Result<LayerRow> {
        let stream = self.open(index, job)?;
        let converted =
            convert::convert(self.store, stream, self.options).map_err(|source| failed(job, source))?;
        self.adopt(job, converted)
    }

    /// From the blob that is in the store.
    fn convert_own(&self, job: &Job) -> Result<LayerRow> {
        let path = self.store.paths().blob(&job.blob.digest);
        let file = File::open(&path).map_err(|source| Error::io("open", path, source))?;
        let options = convert::Options { keep: false, ..self.options };
        let mut converted =
            convert::convert(self.store, file, options).map_err(|source| failed(job, source))?;
        converted.forget_recipe();
        self.adopt(job, converted)
    }

    /// Checks a layer in every way, and gives it its place.
    fn adopt(&self, job: &Job, converted: Converted) -> Result<LayerRow> {
        check_blob(job, converted.blob, converted.blob_bytes)?;
        check_diff_id(job, converted.diff_id())?;
        let row = converted.adopt(self.store)?;
        self.store.db().add_layer(&row)?;
        Ok(row)
    }

    /// The blob alone, of a layer that is known from elsewhere.
    fn blob(&self, index: usize, job: &Job, row: &LayerRow) -> Result<()> {
        let mut stream = HashingReader::new(self.open(index, job)?);
        let temp = self.store.temp_file()?;
        let received = |source| Error::Receive { layer: job.blob.digest, source };
        io::copy(&mut stream, &mut temp.file()).map_err(received)?;
        let (found, bytes) = stream.finish();
        check_blob(job, found, bytes)?;
        check_unpacked(job, row, temp.path())?;
        Ok(temp.adopt(&self.store.paths().blob(&job.blob.digest))?)
    }

    fn open(&self, index: usize, job: &Job) -> Result<impl Read + Send> {
        let stream = self.repository.blob(&job.blob)?;
        Ok(Told { stream, index, progress: self.progress, stop: &self.stop })
    }
}

fn failed(job: &Job, source: convert::ConvertError) -> Error {
    Error::Layer { layer: job.blob.digest.to_string(), source: Box::new(source) }
}

fn check_blob(job: &Job, found: Digest, bytes: u64) -> Result<()> {
    let layer = job.blob.digest;
    if found != layer {
        return Err(Error::Corrupt { document: format!("the layer {layer}"), expected: layer, found });
    }
    if bytes != job.blob.size {
        return Err(Error::BlobSize { blob: layer, expected: job.blob.size });
    }
    Ok(())
}

/// Whether a blob has the layer in it that the config says.
fn check_unpacked(job: &Job, row: &LayerRow, blob: &Path) -> Result<()> {
    let unread = |source| failed(job, convert::ConvertError::Read(source));
    let file = File::open(blob).map_err(|source| Error::io("open", blob, source))?;
    // The layer's size is known: more than that is another one.
    let plain = decompress::open(file).map_err(unread)?.take(row.tar_bytes.saturating_add(1));
    let mut plain = HashingReader::new(plain);
    io::copy(&mut plain, &mut io::sink()).map_err(unread)?;
    let (found, _) = plain.finish();
    check_diff_id(job, found)
}

fn check_diff_id(job: &Job, found: Digest) -> Result<()> {
    match found == job.diff_id {
        true => Ok(()),
        false => Err(Error::DiffId { layer: job.blob.digest.to_string(), expected: job.diff_id, found }),
    }
}

/// A blob that is small, if the store has it and it is whole. What is longer is not read: it may be a layer.
pub fn small_here(store: &Store, descriptor: &Descriptor) -> Option<Vec<u8>> {
    let file = File::open(store.paths().blob(&descriptor.digest)).ok()?;
    let mut bytes = Vec::new();
    file.take(descriptor.size.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 == descriptor.size && Digest::of(&bytes) == descriptor.digest).then_some(bytes)
}

/// A blob that is small: a config. Its digest is for the caller to check.
pub fn small(repository: &Repository, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let received = |source| Error::Receive { layer: descriptor.digest, source };
    repository.blob(descriptor)?.take(descriptor.size + 1).read_to_end(&mut bytes).map_err(received)?;
    match bytes.len() as u64 == descriptor.size {
        true => Ok(bytes),
        false => Err(Error::BlobSize { blob: descriptor.digest, expected: descriptor.size }),
    }
}

/// Tells how far it is, and ends with an error where another layer has failed.
struct Told<'a, R> {
    stream: R,
    index: usize,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("another layer failed"));
        }
        let n = self.stream.read(buf)?;
        self.progress.received(self.index, n as u64);
        Ok(n)
    }
}
