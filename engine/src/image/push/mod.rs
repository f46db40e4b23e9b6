//! `push`: an image of the store to a registry.
//!
//! What was pulled or loaded compressed goes out byte for byte: the manifest as it came, and with it the
//! digest. Of plain tars gzip blobs are made first, once, and a manifest that names them ([`packed`]).
//! Then the layers, several at a time, each only if the registry lacks it ([`upload`]), then the config,
//! then the manifest under its tag.

mod packed;
mod upload;

use std::fmt;

use super::digest::Digest;
use super::error::{Error, Result};
use super::reference::Reference;
use super::source::{self, Source};
use super::{catalog, gc};
use crate::registry::{Access, Repository, Settings};
use crate::store::Store;
use crate::store::db::images::ImageRow;
use crate::text::escape;

/// Hears of a push, from several threads. Layers are counted as the manifest has them.
pub trait Progress: Sync + fmt::Debug {
    /// The repository, as the user writes it.
    fn begin(&self, _repository: &str) {}
    fn layers(&self, _layers: &[LayerInfo]) {}
    /// So many bytes of a layer were sent.
    fn sent(&self, _layer: usize, _bytes: u64) {}
    fn is(&self, _layer: usize, _state: &State) {}
    /// The registry has the image.
    fn end(&self, _tag: &str, _digest: &Digest, _bytes: u64) {}
}

/// A layer, as people are shown it.
#[derive(Debug, Clone)]
pub struct LayerInfo {
    pub diff_id: Digest,
    /// Of what is sent.
    pub bytes: u64,
}

/// What came of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Exists,
    /// From this repository of the registry's.
    Mounted(String),
    Pushed,
}

/// Says nothing.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {}

/// Pushes what a name with a tag means.
pub fn push(store: &Store, settings: &Settings, name: &Reference, progress: &dyn Progress) -> Result<()> {
    if name.digest.is_some() {
        return Err(Error::PushDigest(escape(&name.familiar()).to_string()));
    }
    let tags = source::tags(store, name)?;
    if tags.is_empty() {
        return Err(no_such_tag(name));
    }
    let found = tags.into_iter().find(|(_, known)| known.tag == name.tag);
    let found = found.ok_or_else(|| Error::NoTag(escape(&name.familiar()).to_string()))?;
    push_each(store, settings, name, &[found], progress)
}

/// Pushes all tags of a name's repository.
pub fn push_all(store: &Store, settings: &Settings, name: &Reference, progress: &dyn Progress) -> Result<()> {
    let tags = source::tags(store, name)?;
    if tags.is_empty() {
        return Err(no_such_tag(name));
    }
    push_each(store, settings, name, &tags, progress)
}

fn no_such_tag(name: &Reference) -> Error {
    Error::NoSuchTag(escape(&name.familiar_repository()).to_string())
}

fn push_each(
    store: &Store,
    settings: &Settings,
    name: &Reference,
    tags: &[(ImageRow, Reference)],
    progress: &dyn Progress,
) -> Result<()> {
    let _held = gc::hold(store)?;
    progress.begin(&name.familiar_repository());
    let failed = |source: Error| Error::Push {
        name: escape(&name.familiar_repository()).to_string(),
        source: Box::new(source),
    };
    let repository = Repository::open(settings, name, Access::Push).map_err(|error| failed(error.into()))?;
    let push = Push { store, repository: &repository, progress };
    tags.iter().try_for_each(|(row, name)| push.one(row, name)).map_err(failed)
}

struct Push<'a> {
    store: &'a Store,
    repository: &'a Repository,
    progress: &'a dyn Progress,
}

impl Push<'_> {
    fn one(&self, row: &ImageRow, name: &Reference) -> Result<()> {
        let source = packed::source(self.store, row, name)?;
        let layers = source.layers.iter();
        let shown =
            layers.map(|layer| LayerInfo { diff_id: layer.row.diff_id, bytes: layer.descriptor.size });
        self.progress.layers(&shown.collect::<Vec<_>>());
        self.layers(&source, name)?;
        self.config(&source)?;
        let tag = name.tag.as_deref().unwrap_or_default();
        self.repository.put_manifest(tag, &source.media_type, &source.manifest)?;
        let by_digest = Reference { tag: None, digest: Some(source.digest), ..name.clone() };
        self.store.db().name_manifest(&row.id, &by_digest.canonical(), &source.digest)?;
        self.progress.end(tag, &source.digest, source.manifest.len() as u64);
        Ok(())
    }

    fn config(&self, source: &Source) -> Result<()> {
        if self.repository.has_blob(&source.id)? {
            return Ok(());
        }
        let file = catalog::open_blob(self.store, &source.id)?;
        Ok(self.repository.upload_blob(&source.id, &file, &|_| {})?)
    }
}
