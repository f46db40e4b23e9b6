//! An archive that goes by once: documents are kept, layers are converted on sight, and which of
//! them belong together is seen at the end.

use std::collections::HashMap;
use std::io::{self, Cursor, Read};

use super::super::convert::{self, Options};
use super::super::decompress::{self, Compression};
use super::super::digest::Digest;
use super::super::error::{Error, Result};
use super::super::layer::tar::{self, MemberKind, TarReader};
use super::super::spec::MAX_DOCUMENT;
use super::archive::link_target;
use super::{MAX_DOCUMENTS, Members, PlannedLayer, Pool, check_blob, member_name};
use crate::store::Store;
use crate::text::escape;

/// Layers an archive may have.
const MAX_LAYERS: usize = 4096;
/// Folder of a layout's blobs.
const BLOBS: &str = "blobs/sha256/";

/// What went by.
pub struct Streamed {
    documents: HashMap<String, Vec<u8>>,
    layers: Pool,
    links: HashMap<String, String>,
}

impl Streamed {
    pub fn read(store: &Store, stream: impl Read + Send, options: Options) -> Result<Self> {
        let mut archive = TarReader::new(stream);
        let mut read = Self { documents: HashMap::new(), layers: Pool::new(), links: HashMap::new() };
        let mut documents = 0;
        while let Some(member) = archive.next_member().map_err(Error::Archive)? {
            let Some(name) = member_name(&member.path) else { continue };
            match member.kind {
                MemberKind::File if member.sparse.is_none() => {
                    documents += read.file(store, &mut archive, name, options)?;
                    if documents > MAX_DOCUMENTS {
                        return Err(Error::Documents);
                    }
                }
                MemberKind::Symlink => {
                    if let Some(target) = link_target(&name, &member.link) {
                        read.links.insert(name, target);
                    }
                }
                MemberKind::HardLink => {
                    if let Some(target) = member_name(&member.link) {
                        read.links.insert(name, target);
                    }
                }
                _ => {}
            }
        }
        Ok(read)
    }

    /// Takes a file; the bytes kept in memory for it.
    fn file<R: Read + Send>(
        &mut self,
        store: &Store,
        archive: &mut TarReader<R>,
        name: String,
        options: Options,
    ) -> Result<u64> {
        let member = |source| Error::Member { member: escape(&name).to_string(), source };
        let mut data = Data(archive);
        let mut head = Vec::with_capacity(tar::BLOCK);
        (&mut data).take(tar::BLOCK as u64).read_to_end(&mut head).map_err(member)?;
        // A layout's blobs are named by their digest.
        let digest = name.strip_prefix(BLOBS).and_then(|hex| Digest::from_hex(hex).ok());
        if is_layer(&head) {
            if self.layers.len() >= MAX_LAYERS {
                return Err(Error::Input(io::Error::other("the archive has more than 4096 layers")));
            }
            let layer = PlannedLayer { member: name, blob: digest, bytes: 0 };
            // Whether the manifest names its bytes or the tar in them is seen at the end.
            let options = Options { keep: digest.is_some(), recipe: true, ..options };
            let converted = convert::convert(store, Cursor::new(head).chain(data), options)
                .map_err(|source| Error::Layer { layer: layer.shown(), source: Box::new(source) })?;
            check_blob(&layer, converted.blob)?;
            self.layers.insert(layer.member, converted);
            return Ok(0);
        }
        if !matches!(head.trim_ascii_start().first(), Some(b'{' | b'[')) {
            return Ok(0);
        }
        let mut document = head;
        data.take(MAX_DOCUMENT).read_to_end(&mut document).map_err(member)?;
        if document.len() as u64 > MAX_DOCUMENT {
            return Err(Error::DocumentSize(escape(&name).to_string()));
        }
        let bytes = document.len() as u64;
        self.documents.insert(name, document);
        Ok(bytes)
    }

    /// The member that a name means: itself, or what it links to.
    pub fn target(&self, name: &str) -> String {
        let mut name = member_name(name.as_bytes()).unwrap_or_default();
        for _ in 0..8 {
            match self.links.get(&name) {
                Some(target) => name.clone_from(target),
                None => break,
            }
        }
        name
    }

    pub fn into_layers(self) -> Pool {
        self.layers
    }
}

/// Whether a file's first block begins a tar, plain or compressed in any way.
fn is_layer(head: &[u8]) -> bool {
    !matches!(decompress::detect(head), Ok(Compression::None))
        || head.first_chunk().is_some_and(tar::begins_archive)
}

impl Members for Streamed {
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send + '_>>> {
        let document = self.documents.get(&self.target(name));
        Ok(document.map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read + Send>))
    }
}

/// The current member's data.
struct Data<'a, R>(&'a mut TarReader<R>);

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_data(buf).map_err(|error| match error {
            tar::TarError::Read(source) => source,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        })
    }
}
