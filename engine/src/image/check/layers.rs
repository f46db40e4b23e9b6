//! Layer files: made again from what they were made of, and compared.

use std::fs::{self, File};
use std::io::{self, Read};

use super::blobs::Unfetched;
use super::{Check, DAMAGED, MISSING, Outcome, Part, REPAIRABLE};
use crate::image::convert::{self, ConvertError, Converted, Options};
use crate::image::digest::Digest;
use crate::image::error::{Error, Result};
use crate::image::layer::build::BuildError;
use crate::image::layer::erofs::ErofsError;
use crate::image::recipe::{Rebuilt, RecipeError};
use crate::store::db::images::LayerRow;
use crate::store::db::inventory::Kept;

const NO_SOURCE: &str = "its tar was not kept, nor how to make it again: an older release took it in";
const REFUSED: &str = "this release refuses to convert it again";

/// What came of making a layer again.
enum Made {
    Whole(Box<Converted>),
    /// What it is made of is not what it should be.
    Damaged,
    Unknown(&'static str),
}

impl Check<'_> {
    /// Checks a layer, and the blob it came in if there is one.
    pub fn layer(&mut self, row: &LayerRow, blob: Option<(Digest, u64)>) -> Result<()> {
        (self.told)(Part::Layer(row.diff_id));
        self.report.layers += 1;
        let made = match blob {
            Some((digest, bytes)) => self.make_of_blob(row, &digest, bytes)?,
            None => self.make_of_recipe(row)?,
        };
        let path = self.store.paths().layer(&row.diff_id);
        let compared = |made: &Converted| match made.is_same(&path) {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(DAMAGED)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(MISSING)),
            Err(source) => Err(Error::io("read", &path, source)),
        };
        match made {
            Made::Whole(made) => match compared(&made)? {
                Some(fault) => self.mend_layer(row, fault, *made, "made again"),
                None => Ok(()),
            },
            Made::Damaged if blob.is_none() => self.refetch_layer(row),
            // The blob's fault was told, which leaves nothing to compare with.
            Made::Damaged if path.exists() => Ok(()),
            Made::Damaged => {
                let left = Outcome::Left("pull or load its image again".to_owned());
                self.find_layer(row, MISSING, left);
                Ok(())
            }
            Made::Unknown(why) if path.exists() => {
                self.find_layer(row, "not checked", Outcome::Unknown(why));
                Ok(())
            }
            Made::Unknown(_) => {
                let left = Outcome::Left("load or import its image again".to_owned());
                self.find_layer(row, MISSING, left);
                Ok(())
            }
        }
    }

    fn make_of_blob(&mut self, row: &LayerRow, digest: &Digest, bytes: u64) -> Result<Made> {
        self.seen.insert(*digest);
        self.report.blobs += 1;
        for mended in [false, true] {
            let path = self.store.paths().blob(digest);
            let made = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(source) => return Err(Error::io("open", path, source)),
                Ok(file) => self.convert(row, file)?,
            };
            match made {
                Some(mut made) if made.blob == *digest && made.diff_id() == row.diff_id => {
                    made.forget_recipe();
                    return Ok(Made::Whole(made));
                }
                _ => {}
            }
            match self.fault_of_blob(digest, bytes)? {
                None => return Ok(Made::Unknown(REFUSED)),
                Some(fault) => {
                    if mended || !self.mend_blob(digest, bytes, fault)? {
                        break;
                    }
                }
            }
        }
        Ok(Made::Damaged)
    }

    fn make_of_recipe(&self, row: &LayerRow) -> Result<Made> {
        let tar = match Rebuilt::open(self.store, row) {
            Ok(tar) => tar,
            Err(RecipeError::None(_)) => return Ok(Made::Unknown(NO_SOURCE)),
            Err(RecipeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Made::Damaged);
            }
            Err(RecipeError::Io { what, path, source }) => return Err(Error::io(what, path, source)),
            Err(_) => return Ok(Made::Damaged),
        };
        Ok(match self.convert(row, tar)? {
            Some(made) if made.diff_id() == row.diff_id => Made::Whole(made),
            _ => Made::Damaged,
        })
    }

    /// None: what comes is no such layer.
    fn convert(&self, row: &LayerRow, stream: impl Read + Send) -> Result<Option<Box<Converted>>> {
        // It was within the ceilings when it came.
        let options = Options { max_unpacked: u64::MAX, max_entries: u64::MAX, ..Options::default() };
        match convert::convert(self.store, stream, options) {
            Ok(made) => Ok(Some(Box::new(made))),
            // This machine's doing: it says nothing of the layer.
            Err(
                source
                @ (ConvertError::Store(_) | ConvertError::Build(BuildError::Write(ErofsError::Io(..)))),
            ) => Err(Error::Layer { layer: row.diff_id.to_string(), source: Box::new(source) }),
            Err(_) => Ok(None),
        }
    }

    /// Gives a layer that was made again its place.
    fn mend_layer(&mut self, row: &LayerRow, fault: &'static str, made: Converted, how: &str) -> Result<()> {
        let outcome = match self.repair {
            Some(_) => {
                made.replace(self.store)?;
                Outcome::Repaired(how.to_owned())
            }
            None => Outcome::Left(REPAIRABLE.to_owned()),
        };
        self.find_layer(row, fault, outcome);
        Ok(())
    }

    /// A layer or its recipe is damaged, and there is no blob: only a registry may have the tar.
    fn refetch_layer(&mut self, row: &LayerRow) -> Result<()> {
        let path = self.store.paths().layer(&row.diff_id);
        let fault = if path.exists() { DAMAGED } else { MISSING };
        let Some(settings) = self.repair else {
            let advice = "without --dry-run it is fetched again, if a registry has it";
            self.find_layer(row, fault, Outcome::Left(advice.to_owned()));
            return Ok(());
        };
        let has = |image: &Kept| image.layers.iter().any(|layer| layer.diff_id == row.diff_id);
        let tar = self.store.paths().blob(&row.diff_id);
        match self.fetch(settings, &row.diff_id, row.tar_bytes, has) {
            Ok(from) => {
                let file = File::open(&tar).map_err(|e| Error::io("open", &tar, e))?;
                let made = self.convert(row, file)?;
                // Plain tars are not kept.
                fs::remove_file(&tar).map_err(|e| Error::io("remove", &tar, e))?;
                match made {
                    Some(made) => self.mend_layer(row, fault, *made, &format!("fetched again from {from}")),
                    None => {
                        self.find_layer(row, fault, Outcome::Unknown(REFUSED));
                        Ok(())
                    }
                }
            }
            Err(Unfetched::Store(error)) => Err(error.into()),
            Err(Unfetched::Registry(why)) => {
                for path in [path, self.store.paths().recipe(&row.diff_id)] {
                    match fs::remove_file(&path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(Error::io("remove", path, error));
                        }
                        _ => {}
                    }
                }
                let left = Outcome::Left(format!("{why}; load or import its image again"));
                self.find_layer(row, fault, left);
                Ok(())
            }
        }
    }

    /// Tells of a layer. Roots are not merged of those that are not whole.
    fn find_layer(&mut self, row: &LayerRow, fault: &'static str, outcome: Outcome) {
        if !matches!(outcome, Outcome::Repaired(_) | Outcome::Unknown(_)) {
            self.broken.insert(row.diff_id);
        }
        let has = |image: &Kept| image.layers.iter().any(|layer| layer.diff_id == row.diff_id);
        self.find(Part::Layer(row.diff_id), fault, outcome, has);
    }
}
