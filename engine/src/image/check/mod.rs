//! `system check`: whether every file of every image is the one that it should be, and mending of those
//! that are not.
//!
//! A blob is checked against its digest. Layer files and merged roots have none of their own: what they
//! were made of is converted again, which gives the same bytes if all is well. For a layer that is its blob
//! or, where the tar was not kept, the tar that its recipe makes; so one pass over a blob checks both.
//!
//! What is damaged is made again where what it was made of is whole, else fetched from the repositories
//! that the image has a name by digest of. What cannot be had is removed, since the next pull or load brings
//! in only what is missing. All of that happens by rename: containers that run keep the files they have.

mod blobs;
mod layers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::convert::same_bytes;
use super::digest::Digest;
use super::error::{Error, Result};
use super::root::RootError;
use super::spec::Manifest;
use super::{Reference, catalog, gc, root};
use crate::registry::Settings;
use crate::store::Store;
use crate::store::db::images::LayerRow;
use crate::store::db::inventory::Kept;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Image(Digest),
    Blob(Digest),
    Layer(Digest),
    /// By its chain's id.
    Root(Digest),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(digest) => write!(f, "image {digest}"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Layer(digest) => write!(f, "layer {digest}"),
            Self::Root(digest) => write!(f, "merged root {digest}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is whole again; how.
    Repaired(String),
    /// It is not; what to do.
    Left(String),
    /// Nothing tells whether it is whole; why.
    Unknown(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub part: Part,
    /// Whose it is: names, or ids where there are none.
    pub images: Vec<String>,
    pub fault: &'static str,
    pub outcome: Outcome,
}

/// What was looked at, and what was not well.
#[derive(Debug, Default)]
pub struct Report {
    pub images: usize,
    pub blobs: usize,
    pub layers: usize,
    pub roots: usize,
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether all is well now.
    pub fn is_well(&self) -> bool {
        !self.findings.iter().any(|finding| matches!(finding.outcome, Outcome::Left(_)))
    }
}

const MISSING: &str = "missing";
const DAMAGED: &str = "damaged";

/// Checks, and repairs if `settings` for fetching are given. `told` hears what comes next.
pub fn check(store: &Store, repair: Option<&Settings>, told: &dyn Fn(Part)) -> Result<Report> {
    let _held = gc::hold(store)?;
    let images = store.db().inventory()?;
    let report = Report { images: images.len(), ..Report::default() };
    let mut check = Check {
        store,
        repair,
        told,
        images: &images,
        seen: BTreeSet::new(),
        broken: BTreeSet::new(),
        report,
    };
    check.run()?;
    Ok(check.report)
}

/// Layers by diff id, each with the blob it came in: digest and size.
type Sources = BTreeMap<Digest, (LayerRow, Option<(Digest, u64)>)>;

struct Check<'a> {
    store: &'a Store,
    repair: Option<&'a Settings>,
    told: &'a dyn Fn(Part),
    images: &'a [Kept],
    /// Blobs that were looked at.
    seen: BTreeSet<Digest>,
    /// Layers that are not whole.
    broken: BTreeSet<Digest>,
    report: Report,
}

impl Check<'_> {
    fn run(&mut self) -> Result<()> {
        let images = self.images;
        let mut sources = Sources::new();
        for image in images {
            for (digest, bytes) in image.blobs.iter().filter(|(d, _)| *d == image.manifest || *d == image.id)
            {
                self.document(digest, *bytes)?;
            }
            self.sources(image, &mut sources)?;
        }
        for (row, blob) in sources.into_values() {
            self.layer(&row, blob)?;
        }
        for (digest, bytes) in images.iter().flat_map(|image| &image.blobs) {
            self.document(digest, *bytes)?;
        }
        let mut roots = BTreeSet::new();
        for image in images {
            let layers: Vec<Digest> = image.layers.iter().map(|layer| layer.diff_id).collect();
            if roots.insert(root::chain_id(&layers))
                && layers.iter().all(|layer| !self.broken.contains(layer))
            {
                self.root(&layers)?;
            }
        }
        Ok(())
    }

    /// The image's layers, each with the blob it is in, by what its documents say.
    fn sources(&mut self, image: &Kept, into: &mut Sources) -> Result<()> {
        let documents = || -> Result<_> {
            let manifest: Manifest =
                serde_json::from_slice(&catalog::config_bytes(self.store, &image.manifest)?).map_err(
                    |source| Error::Json { document: format!("the manifest {}", image.manifest), source },
                )?;
            Ok((manifest, catalog::config(self.store, &image.id)?))
        };
        let layers = image.layers.iter();
        let Ok((manifest, config)) = documents() else {
            // That is told of the blobs. Their layers can only be checked by their recipes.
            for row in layers {
                into.entry(row.diff_id).or_insert_with(|| (row.clone(), None));
            }
            return Ok(());
        };
        let same = layers.clone().map(|row| &row.diff_id).eq(&config.rootfs.diff_ids);
        if !same || manifest.layers.len() != image.layers.len() {
            let advice = "remove it by force, and pull or load it again".to_owned();
            let fault = "not made of the layers that its config names";
            self.report.findings.push(Finding {
                part: Part::Image(image.id),
                images: vec![shown(image)],
                fault,
                outcome: Outcome::Left(advice),
            });
            return Ok(());
        }
        for (row, descriptor) in layers.zip(&manifest.layers) {
            let blob = image.blobs.iter().find(|(digest, _)| *digest == descriptor.digest).copied();
            let known = into.entry(row.diff_id).or_insert_with(|| (row.clone(), None));
            known.1 = known.1.or(blob);
        }
        Ok(())
    }

    fn root(&mut self, layers: &[Digest]) -> Result<()> {
        let chain = root::chain_id(layers);
        (self.told)(Part::Root(chain));
        self.report.roots += 1;
        let path = self.store.paths().merged_root(&chain);
        let has = |image: &Kept| image.layers.iter().map(|layer| &layer.diff_id).eq(layers);
        let made = match root::make(self.store, layers, u64::MAX) {
            Err(RootError::Layer { .. } | RootError::Merge { .. }) => {
                // Of layers that could not be checked one is not whole.
                let advice =
                    "its layers cannot be put together; remove its image by force, and pull or load it again";
                self.find(Part::Root(chain), DAMAGED, Outcome::Left(advice.to_owned()), has);
                return Ok(());
            }
            made => made?,
        };
        let fault = match same_bytes(made.file(), &path) {
            Ok(true) => return Ok(()),
            Ok(false) => DAMAGED,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => MISSING,
            Err(source) => return Err(Error::io("read", path, source)),
        };
        let outcome = match self.repair {
            Some(_) => {
                made.adopt(&path)?;
                Outcome::Repaired("merged again".to_owned())
            }
            None => Outcome::Left(REPAIRABLE.to_owned()),
        };
        self.find(Part::Root(chain), fault, outcome, has);
        Ok(())
    }

    fn find(&mut self, part: Part, fault: &'static str, outcome: Outcome, has: impl Fn(&Kept) -> bool) {
        let images = self.images.iter().filter(|image| has(image)).map(shown).collect();
        self.report.findings.push(Finding { part, images, fault, outcome });
    }
}

/// What is left to do where nothing was to be repaired.
const REPAIRABLE: &str = "without --dry-run it is made again";

fn shown(image: &Kept) -> String {
    let name = image.names.iter().find_map(|name| name.parse::<Reference>().ok());
    name.map_or_else(|| image.id.to_string(), |name| name.familiar())
}

#[cfg(test)]
mod tests;
