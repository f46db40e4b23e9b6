//! Blobs: whether they are what their digests say, and where to have them again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};

use super::{Check, DAMAGED, MISSING, Outcome, Part};
use crate::image::Reference;
use crate::image::digest::{Digest, HashingReader};
use crate::image::error::{Error, Result};
use crate::image::spec::Descriptor;
use crate::registry::{Access, Repository, Settings};
use crate::store;
use crate::store::db::inventory::Kept;
use crate::text::escape;

impl Check<'_> {
    /// Checks a blob that was not looked at yet; whether it is whole now.
    pub fn document(&mut self, digest: &Digest, bytes: u64) -> Result<bool> {
        if !self.seen.insert(*digest) {
            return Ok(true);
        }
        (self.told)(Part::Blob(*digest));
        self.report.blobs += 1;
        match self.fault_of_blob(digest, bytes)? {
            None => Ok(true),
            Some(fault) => self.mend_blob(digest, bytes, fault),
        }
    }

    pub fn fault_of_blob(&self, digest: &Digest, bytes: u64) -> Result<Option<&'static str>> {
        let path = self.store.paths().blob(digest);
        let failed = |source| Error::io("read", &path, source);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(MISSING)),
            opened => opened.map_err(failed)?,
        };
        if file.metadata().map_err(failed)?.len() != bytes {
            return Ok(Some(DAMAGED));
        }
        let mut stream = HashingReader::new(file);
        io::copy(&mut stream, &mut io::sink()).map_err(failed)?;
        Ok((stream.finish().0 != *digest).then_some(DAMAGED))
    }

    /// Fetches a blob again and tells of it; whether that went well.
    pub fn mend_blob(&mut self, digest: &Digest, bytes: u64, fault: &'static str) -> Result<bool> {
        let has = |image: &Kept| image.blobs.iter().any(|(blob, _)| blob == digest);
        let outcome = match self.repair {
            None => Outcome::Left("without --dry-run it is fetched again, if a registry has it".to_owned()),
            Some(settings) => match self.fetch(settings, digest, bytes, has) {
                Ok(from) => Outcome::Repaired(format!("fetched again from {from}")),
                Err(Unfetched::Store(error)) => return Err(error.into()),
                Err(Unfetched::Registry(why)) => {
                    let path = self.store.paths().blob(digest);
                    match fs::remove_file(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(Error::io("remove", path, error));
                        }
                        _ => {}
                    }
                    Outcome::Left(format!("{why}; pull or load its image again"))
                }
            },
        };
        let is_whole = matches!(outcome, Outcome::Repaired(_));
        self.find(Part::Blob(*digest), fault, outcome, has);
        Ok(is_whole)
    }

    /// Brings a blob in from one of the repositories that images with it came from; which one.
    pub fn fetch(
        &self,
        settings: &Settings,
        digest: &Digest,
        bytes: u64,
        has: impl Fn(&Kept) -> bool,
    ) -> Result<String, Unfetched> {
        let images: Vec<&Kept> = self.images.iter().filter(|image| has(image)).collect();
        let is_manifest = images.iter().any(|image| image.manifest == *digest);
        let mut tried = BTreeSet::new();
        let mut why = "no registry is known to have it".to_owned();
        for name in images.iter().flat_map(|image| &image.names) {
            // A name by digest says that it was there.
            let Some(name) = name.parse::<Reference>().ok().filter(|name| name.digest.is_some()) else {
                continue;
            };
            let from = name.familiar_repository();
            if !tried.insert(from.clone()) {
                continue;
            }
            match self.fetch_from(settings, &name, digest, bytes, is_manifest) {
                Ok(()) => return Ok(from),
                Err(Error::Store(error)) => return Err(Unfetched::Store(error)),
                Err(error) => why = escape(&format!("{:#}", anyhow::Error::from(error))).to_string(),
            }
        }
        Err(Unfetched::Registry(why))
    }

    fn fetch_from(
        &self,
        settings: &Settings,
        name: &Reference,
        digest: &Digest,
        bytes: u64,
        is_manifest: bool,
    ) -> Result<()> {
        let repository = Repository::open(settings, name, Access::Pull)?;
        let temp = self.store.temp_file()?;
        if is_manifest {
            let document = repository.manifest(&digest.to_string())?;
            temp.file().write_all(&document.bytes).map_err(|e| store::Error::io("write", temp.path(), e))?;
            return Ok(temp.adopt(&self.store.paths().blob(digest))?);
        }
        let descriptor = Descriptor::new("", *digest, bytes);
        let mut stream = HashingReader::new(repository.blob(&descriptor)?);
        io::copy(&mut stream, &mut temp.file())
            .map_err(|source| Error::Receive { layer: *digest, source })?;
        let (found, _) = stream.finish();
        if found != *digest {
            return Err(Error::Corrupt { document: format!("the blob {digest}"), expected: *digest, found });
        }
        Ok(temp.adopt(&self.store.paths().blob(digest))?)
    }
}

/// Why a blob could not be had.
pub enum Unfetched {
    /// This machine's doing.
    Store(store::Error),
    Registry(String),
}
