//! Images: what is pulled, loaded, imported, listed, looked up and removed.
//!
//! An image is a config and an ordered chain of layers; its id is the config's digest, as Docker's.
//! Each layer is one EROFS file ([`layer`]), made in one pass from whatever stream brings it
//! ([`convert`]); a chain of them has one merged root ([`root`]). Nothing from an image is
//! unpacked onto the host's file system, but where a user namespace leaves no other way ([`unpack`]).

pub mod catalog;
pub mod changes;
pub mod check;
pub mod convert;
#[cfg(test)]
mod damage_tests;
pub mod decompress;
pub mod digest;
pub mod document;
mod error;
pub mod gc;
pub mod history;
pub mod import;
mod ingest;
pub mod inspect;
pub mod layer;
pub mod list;
pub mod load;
pub mod naming;
mod pattern;
pub mod pipe;
pub mod platform;
pub mod prune;
pub mod pull;
pub mod push;
pub mod recipe;
pub mod reference;
pub mod root;
pub mod save;
pub mod source;
pub mod spec;
pub mod unpack;
pub mod usage;

pub use digest::Digest;
pub use error::{Error, Result};
pub use naming::Naming;
pub use reference::Reference;
pub use root::{Root, RootLayer};

use spec::ImageConfig;

/// An image that was looked up.
#[derive(Debug, Clone)]
pub struct Image {
    pub id: Digest,
    pub manifest: Digest,
    pub config: ImageConfig,
    /// Diff ids, lowest first.
    pub layers: Vec<Digest>,
    /// What the user may be shown as its name: one of its names, else its id.
    pub shown_as: String,
}
