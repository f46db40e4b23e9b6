//! From a compressed layer to a layer file, in one pass: what comes in is hashed, decompressed,
//! hashed again (the diff id), taken apart as tar and written as EROFS. Nothing is held but the tree.
//!
//! Three threads: one receives, keeps and hashes, one decompresses, one hashes the tar and writes. Each has
//! work of the same order, so two layers at a time fill two cores.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};

use nix::sys::statvfs::statvfs;

use super::decompress::{self, Compression};
use super::digest::{Digest, HashingReader};
use super::layer::build::{BuildError, LayerBuilder};
use super::layer::erofs::ErofsError;
use super::layer::erofs::data::DataWriter;
use super::layer::erofs::format::BLOCK;
use super::layer::erofs::writer::{self, Kind as FileKind};
use super::layer::tar::{MemberKind, TarReader};
use super::recipe::{self, Recorder};
use super::{ingest, pipe};
use crate::store::db::images::LayerRow;
use crate::store::{self, Store, TempFile, files};

/// Bytes that one layer may unpack to, unless told otherwise.
pub const DEFAULT_UNPACKED: u64 = 64 << 30;
/// Entries that one layer, and the merged root of an image, may have unless told otherwise: some
/// 600 MiB of memory.
pub const DEFAULT_ENTRIES: u64 = 1 << 22;
/// What a layer must leave free on the store's file system.
const RESERVE: u64 = 256 << 20;

/// Bytes of a file that are compared at a time.
const COMPARED: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(
        "the disk of {} is full but for 256 MiB, which stay free: free some space there and try again",
        .0.display()
    )]
    Full(PathBuf),
    #[error("Failed to read or decompress the layer")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What to do with a stream.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Also store what comes in, if it is compressed: to be pushed again byte for byte it is needed,
    /// and cannot be made again from anything else. A plain tar is not kept.
    pub keep: bool,
    /// Also note how the tar is made again where what comes in is kept. Where it is not, that is done
    /// in any case.
    pub recipe: bool,
    /// Bytes, of the tar and of the layer file.
    pub max_unpacked: u64,
    pub max_entries: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { keep: false, recipe: false, max_unpacked: DEFAULT_UNPACKED, max_entries: DEFAULT_ENTRIES }
    }
}

/// A converted layer. Its files are temporary until adopted.
pub struct Converted {
    /// Of what came in, and its size.
    pub blob: Digest,
    pub blob_bytes: u64,
    pub compression: Compression,
    pub row: LayerRow,
    file: TempFile,
    kept: Option<TempFile>,
    recipe: Option<TempFile>,
}

impl Converted {
    pub fn diff_id(&self) -> Digest {
        self.row.diff_id
    }

    /// Does without the recipe, if there is one.
    pub fn forget_recipe(&mut self) {
        self.recipe = None;
    }

    /// Gives the layer its place in the store, what was kept of its compressed form, and its recipe.
    pub fn adopt(self, store: &Store) -> store::Result<LayerRow> {
        let diff_id = &self.row.diff_id;
        let known = ingest::known_layer(store, diff_id)?;
        // Equal tars make equal layer files, so a recipe fits the file that is there.
        let recipe = self.recipe.filter(|_| known.is_none() || !recipe::exists(store, diff_id));
        let paths = store.paths();
        let file = known.is_none().then(|| (self.file, paths.layer(diff_id)));
        let recipe = recipe.map(|recipe| (recipe, paths.recipe(diff_id)));
        let kept = self.kept.map(|kept| (kept, paths.blob(&self.blob)));
        files::adopt([file, recipe, kept].into_iter().flatten().collect())?;
        Ok(self.row)
    }
}

impl Converted {
    /// Whether a layer file has the same bytes as this one.
    pub fn is_same(&self, layer: &Path) -> io::Result<bool> {
        same_bytes(self.file.file(), layer)
    }

    /// Takes the place of a layer file that is missing or damaged, with its recipe if it has one. Who has
    /// the old file open keeps it.
    pub fn replace(self, store: &Store) -> store::Result<()> {
        if let Some(recipe) = self.recipe {
            recipe.adopt(&store.paths().recipe(&self.row.diff_id))?;
        }
        self.file.adopt(&store.paths().layer(&self.row.diff_id))
    }
}

/// Whether a file, from its beginning, is the one at a path.
pub fn same_bytes(mut file: &File, path: &Path) -> io::Result<bool> {
    let mut other = File::open(path)?;
    if file.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    file.rewind()?;
    let (mut one, mut two) = (vec![0; COMPARED], vec![0; COMPARED]);
    loop {
        let n = file.read(&mut one)?;
        if n == 0 {
            return Ok(true);
        }
        let (one, two) = (one.get(..n).unwrap_or_default(), two.get_mut(..n).unwrap_or_default());
        other.read_exact(two)?;
        if one != two {
            return Ok(false);
        }
    }
}

/// Converts what `stream` gives, to its end.
pub fn convert<R: Read + Send>(
    store: &Store,
    stream: R,
    options: Options,
) -> Result<Converted, ConvertError> {
    let limit = options.max_unpacked.min(room(&store.paths().tmp())?);
    let (compression, stream) = decompress::tell(stream).map_err(ConvertError::Read)?;
    let kept = match options.keep && compression != Compression::None {
        true => Some(store.temp_file()?),
        false => None,
    };
    let recipe = match kept.is_none() || options.recipe {
        true => Some(store.temp_file()?),
        false => None,
    };
    let file = store.temp_file()?;
    let copy = kept.as_ref();
    let (incoming, row) = thread::scope(|scope| {
        let (incoming, packed) = match compression {
            // The tar's own digest is the blob's, too.
            Compression::None => (None, Packed::Not(stream)),
            _ => {
                let mut incoming = HashingReader::new(Tee { stream, copy, copied: 0, started: 0 });
                let (packed, thread) = pipe::spawn(scope, move |sink| {
                    sink.pump(&mut incoming);
                    incoming.finish()
                });
                (Some(thread), Packed::Yes(packed))
            }
        };
        let (plain, _) = pipe::spawn(scope, move |sink| match packed {
            Packed::Not(mut stream) => sink.pump(&mut stream),
            Packed::Yes(packed) => match decompress::decoder(compression, packed) {
                Ok(mut plain) => sink.pump(&mut plain),
                Err(error) => sink.fail(error),
            },
        });
        let row = write_layer(
            &file,
            recipe.as_ref(),
            plain,
            Ceilings { bytes: limit, entries: options.max_entries },
        );
        // A panic of the thread is a bug, and goes on here.
        let join = |thread: ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let incoming = incoming.map(join);
        row.map(|row| (incoming, row))
    })
    .map_err(|error| match limit < options.max_unpacked && is_over(limit, &error) {
        true => ConvertError::Full(store.paths().root().to_owned()),
        false => error,
    })?;
    let (blob, blob_bytes) = incoming.unwrap_or((row.diff_id, row.tar_bytes));
    Ok(Converted { blob, blob_bytes, compression, row, file, kept, recipe })
}

/// What the second thread gets: the stream itself, or what the first has received and hashed.
enum Packed<R> {
    Not(R),
    Yes(pipe::PipeReader),
}

/// What a layer may come to.
struct Ceilings {
    bytes: u64,
    entries: u64,
}

/// Takes the tar apart and writes the layer file.
fn write_layer(
    file: &TempFile,
    recipe: Option<&TempFile>,
    plain: impl Read,
    ceilings: Ceilings,
) -> Result<LayerRow, ConvertError> {
    let plain = HashingReader::new(Limited { inner: plain, taken: 0, limit: ceilings.bytes });
    let mut tar = TarReader::new(Recorder::new(plain, recipe.map(TempFile::file)));
    let mut builder = LayerBuilder::new(DataWriter::new(file.file(), ceilings.bytes), ceilings.entries);
    while let Some(member) = tar.next_member().map_err(BuildError::from)? {
        if member.kind == MemberKind::File && member.sparse.is_none() {
            tar.get_mut().announce(builder.next_data(), member.stored);
        }
        builder.add(&member, &mut tar)?;
        tar.get_mut().settle();
    }
    // What follows the archive's end counts for the digest.
    let mut rest = tar.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(ConvertError::Read)?;
    let (hashed, unsigned) = rest.finish();
    let (diff_id, tar_bytes) = hashed.finish();
    let (tree, metadata_block, entries) = builder.finish()?;
    let kind = FileKind::Layer { metadata_block };
    let written = writer::write(file.file(), &tree, &kind, uuid(&diff_id)).map_err(BuildError::from)?;
    let bytes = u64::from(written.blocks) * BLOCK;
    if let (Some(unsigned), Some(recipe)) = (unsigned, recipe) {
        let header = recipe::Header { diff_id, tar_bytes, layer_bytes: bytes };
        unsigned.sign(header).map_err(|e| store::Error::io("write", recipe.path(), e))?;
    }
    Ok(LayerRow { diff_id, bytes, tar_bytes, entries })
}

/// A file system's id, made from the digest of what is in it.
pub fn uuid(digest: &Digest) -> [u8; 16] {
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Bytes that may be written to the store's file system.
fn room(folder: &Path) -> Result<u64, ConvertError> {
    let stat = statvfs(folder).map_err(|errno| store::Error::io("examine", folder, errno.into()))?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()).saturating_sub(RESERVE))
}

/// Whether something came to its end because it is this long.
fn is_over(limit: u64, error: &ConvertError) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let written = error.downcast_ref::<ErofsError>();
        let read = error.downcast_ref::<io::Error>();
        if matches!(written, Some(ErofsError::TooLarge(bytes)) if *bytes == limit)
            || read.is_some_and(|error| error.kind() == io::ErrorKind::FileTooLarge)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Ends with an error where a tar goes on for too long.
struct Limited<R> {
    inner: R,
    taken: u64,
    limit: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.taken = self.taken.saturating_add(n as u64);
        if self.taken > self.limit {
            let text = format!("the layer unpacks to more than the limit of {} bytes", self.limit);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(n)
    }
}

/// Copies what is read through it.
struct Tee<'a, R> {
    stream: R,
    copy: Option<&'a TempFile>,
    /// Bytes copied, and those of them that the disk has been told of.
    copied: u64,
    started: u64,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(buf)?;
        if let Some(copy) = self.copy {
            copy.file().write_all(buf.get(..n).unwrap_or_default())?;
            self.copied += n as u64;
            let new = self.copied - self.started;
            if new >= files::WRITEBACK {
                files::start_writeback(copy.file(), self.started, new);
                self.started = self.copied;
            }
        }
        Ok(n)
    }
}
