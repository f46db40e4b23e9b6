//! How a layer's tar is made again, byte for byte, from the layer file.
//!
//! A plain tar is not kept: nearly all of it lies in the layer file already. What does not - headers,
//! padding, the archive's end, data that the layer file keeps in another form - is noted while the tar
//! goes by ([`record`]), with the places of the rest, in a small file beside the layer's. To `save` and
//! to `push` the tar streams out of the two again ([`rebuild`]), checked against the diff id.

mod format;
pub mod rebuild;
pub mod record;

use std::io;
use std::path::PathBuf;

use super::digest::Digest;
use crate::store::Store;

pub use format::Header;
pub use rebuild::Rebuilt;
pub use record::Recorder;

#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    #[error(
        "the tar of the layer {0} was not kept, nor how to make it again: an older release took it in; \
         load or import its archive once more"
    )]
    None(Digest),
    #[error("Failed to {what} {}", .path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is damaged: {why}; load or import the layer's archive once more", .path.display())]
    Damaged { path: PathBuf, why: &'static str },
    #[error(
        "the tar made of {} has the digest {found}, not {expected}: one of the layer's files is damaged",
        .path.display()
    )]
    Digest { path: PathBuf, expected: Digest, found: Digest },
}

/// Whether there is a recipe for this layer.
pub fn exists(store: &Store, diff_id: &Digest) -> bool {
    store.paths().recipe(diff_id).exists()
}

#[cfg(test)]
mod tests;
