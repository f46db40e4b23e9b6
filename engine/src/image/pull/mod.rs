//! `pull`: from a name to an image in the store.
//!
//! The manifest first, through an index if the name means one, then the config, then the layers, several
//! at a time and each in one pass from the socket ([`layers`]). Every document and blob is checked against
//! its digest, every layer against its diff id, before it gets its place; the image gets its row and names
//! in one transaction at the end. A layer that is finished stays when the rest of its image fails or the
//! process is killed, and the next pull counts on it, unless a collection comes between.
//!
//! Two processes that pull the same layer share the work: whoever has the blob's lock fetches it, the
//! other waits and then finds it.

mod layers;
pub mod progress;
mod wanted;

use super::convert;
use super::digest::Digest;
use super::document::{self, Found};
use super::error::{Error, Result};
use super::ingest::{self, Parts};
use super::spec::{Descriptor, ImageConfig, MAX_DOCUMENT, Platform, media_type};
use super::{Reference, catalog, gc, platform};
use crate::registry::{Access, Document, Repository, Settings};
use crate::store::{self, Store};
use crate::text::escape;
use progress::{LayerInfo, Progress};

pub use wanted::{Policy, Wanted};

/// What a pull is told besides the name.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// This machine's, if none is asked for.
    pub platform: Option<Platform>,
    pub convert: convert::Options,
}

/// An image that is in the store now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub id: Digest,
    /// What the name means: an image's manifest, or an index.
    pub digest: Digest,
    /// Whether the name meant something else before, or nothing.
    pub newer: bool,
}

/// Pulls the image of a name. Of what is there already only the tag is looked up; what a digest names and is
/// there is not asked for at all.
pub fn pull(
    store: &Store,
    settings: &Settings,
    name: &Reference,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Pulled> {
    let pull = Pull { store, name, options, progress };
    pull.one(|| Ok(Repository::open(settings, name, Access::Pull)?)).map_err(|error| named(name, error))
}

/// Pulls every tag of a name's repository, in the registry's order.
pub fn pull_all(
    store: &Store,
    settings: &Settings,
    name: &Reference,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<Pulled>> {
    let shown = |error: Error| named(name, error);
    let repository = Repository::open(settings, name, Access::Pull).map_err(|error| shown(error.into()))?;
    let mut pulled = Vec::new();
    for tag in repository.tags().map_err(|error| shown(error.into()))? {
        // Tags come from the registry: one that is none is refused as a user's would be.
        let name: Reference = format!("{}:{tag}", name.familiar_repository())
            .parse()
            .map_err(|error| shown(Error::Reference(error)))?;
        let pull = Pull { store, name: &name, options, progress };
        pulled.push(pull.from(&repository).map_err(|error| named(&name, error))?);
    }
    if pulled.is_empty() {
        return Err(Error::NoTags(escape(&name.familiar_repository()).to_string()));
    }
    Ok(pulled)
}

fn named(name: &Reference, source: Error) -> Error {
    Error::Pull { name: escape(&name.familiar()).to_string(), source: Box::new(source) }
}

/// One name being pulled.
struct Pull<'a> {
    store: &'a Store,
    name: &'a Reference,
    options: &'a Options,
    progress: &'a dyn Progress,
}

impl Pull<'_> {
    /// Nothing of the registry's is made for a digest that is there.
    fn one(&self, open: impl FnOnce() -> Result<Repository>) -> Result<Pulled> {
        match self.name.digest.map(|digest| self.present(digest)).transpose()?.flatten() {
            Some(pulled) => Ok(pulled),
            None => self.from(&open()?),
        }
    }

    fn from(&self, repository: &Repository) -> Result<Pulled> {
        let held = gc::hold(self.store)?;
        if let Some(pulled) = self.up_to_date(repository)? {
            return Ok(pulled);
        }
        let pulled = self.fetch(repository)?;
        drop(held);
        // A removal that came meanwhile has left its collection to this. After a failure there is none, so
        // that finished layers stay.
        gc::collect(self.store)?;
        self.progress.end(self.name, &pulled);
        Ok(pulled)
    }

    fn platform(&self) -> Platform {
        self.options.platform.clone().unwrap_or_else(platform::host)
    }

    /// The name that keeps what a digest means here.
    fn by_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.name.clone() }
    }

    /// The image if the tag still means what it meant here before: one request.
    fn up_to_date(&self, repository: &Repository) -> Result<Option<Pulled>> {
        let (None, Some(tag)) = (self.name.digest, &self.name.tag) else { return Ok(None) };
        if self.store.db().image_named(&self.name.canonical())?.is_none() {
            return Ok(None);
        }
        match repository.resolve(tag)? {
            Some(digest) => self.present(digest),
            None => Ok(None),
        }
    }

    /// The image of a digest, if it is in the store with all its files and for the platform asked for.
    /// It has the name afterwards.
    fn present(&self, digest: Digest) -> Result<Option<Pulled>> {
        let db = self.store.db();
        let Some(row) = db.image_named(&self.by_digest(digest).canonical())? else { return Ok(None) };
        if !catalog::is_complete(self.store, &row.id)? {
            return Ok(None);
        }
        if !platform::fits(&catalog::config(self.store, &row.id)?, &self.platform()) {
            return Ok(None);
        }
        let name = self.name.canonical();
        let newer = !row.names.iter().any(|(known, _)| *known == name);
        if newer {
            match db.tag(&row.id, &name) {
                // Removed a moment ago.
                Err(store::Error::NotFound { .. }) => return Ok(None),
                tagged => tagged?,
            }
        }
        let pulled = Pulled { id: row.id, digest, newer };
        self.progress.begin(self.name);
        self.progress.end(self.name, &pulled);
        Ok(Some(pulled))
    }

    fn fetch(&self, repository: &Repository) -> Result<Pulled> {
        let target = match self.name.digest {
            Some(digest) => digest.to_string(),
            None => self.name.tag.clone().unwrap_or_default(),
        };
        let first = repository.manifest(&target)?;
        self.progress.begin(self.name);
        let digest = first.digest;
        let found = self.resolve(repository, first)?;
        let (config_bytes, config) = self.config(repository, &found.manifest.config)?;
        let (manifest, diff_ids) = (found.manifest.layers.len(), config.rootfs.diff_ids.len());
        if manifest != diff_ids {
            return Err(Error::LayerCount { manifest, config: diff_ids });
        }
        let jobs = layers::jobs(self.store, &found.manifest.layers, &config.rootfs.diff_ids)?;
        let shown: Vec<_> = jobs.iter().map(LayerInfo::from).collect();
        self.progress.layers(&shown);
        let layers = layers::fetch(self.store, repository, &jobs, self.options.convert, self.progress)?;
        let names = vec![self.name.clone(), self.by_digest(digest)];
        let newer = self.store.db().image_named(&self.name.canonical())?.map(|row| row.id);
        let max_entries = self.options.convert.max_entries;
        let manifest = Some(found.bytes);
        let parts = Parts { config: config_bytes, manifest, layers, names, max_entries };
        let new = ingest::prepare(self.store, parts, &config)?;
        self.store.db().add_images(std::slice::from_ref(&new))?;
        Ok(Pulled { id: new.id, digest, newer: newer != Some(new.id) })
    }

    /// From what the name means to an image's manifest.
    fn resolve(&self, repository: &Repository, first: Document) -> Result<Found> {
        let known = [
            media_type::OCI_INDEX,
            media_type::OCI_MANIFEST,
            media_type::DOCKER_LIST,
            media_type::DOCKER_MANIFEST,
        ];
        // Headers are often useless; the document says what it is, too.
        let said = first.media_type.as_str();
        let said = if known.contains(&said) { said } else { "" };
        let descriptor = Descriptor::new(said, first.digest, first.bytes.len() as u64);
        let mut first = Some(first.bytes);
        document::resolve(&descriptor, &self.platform(), &mut |descriptor| match first.take() {
            Some(bytes) => Ok(bytes),
            None => Ok(repository.manifest(&descriptor.digest.to_string())?.bytes),
        })
    }

    fn config(&self, repository: &Repository, descriptor: &Descriptor) -> Result<(Vec<u8>, ImageConfig)> {
        let shown = descriptor.digest.to_string();
        if descriptor.size > MAX_DOCUMENT {
            return Err(Error::DocumentSize(shown));
        }
        let bytes = match layers::small_here(self.store, descriptor) {
            Some(bytes) => bytes,
            None => layers::small(repository, descriptor)?,
        };
        document::verify(&shown, &bytes, &descriptor.digest)?;
        let config: ImageConfig = document::json(&bytes, &shown)?;
        match &self.options.platform {
            Some(wanted) if !platform::fits(&config, wanted) => {
                Err(Error::OtherPlatform { image: platform::shown(&config), wanted: wanted.to_string() })
            }
            _ => Ok((bytes, config)),
        }
    }
}

#[cfg(test)]
mod tests;
