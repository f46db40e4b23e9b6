//! What a pull tells of itself while it runs.

use std::fmt;

use super::Pulled;
use super::layers::Job;
use crate::image::Reference;

/// Hears of a pull, from several threads.
pub trait Progress: Sync + fmt::Debug {
    /// The image is not here, and is going to be pulled.
    fn missing(&self, _name: &Reference) {}
    /// There is such an image.
    fn begin(&self, _name: &Reference) {}
    /// What it is made of.
    fn layers(&self, _layers: &[LayerInfo]) {}
    /// So many more bytes of a layer are here.
    fn received(&self, _layer: usize, _bytes: u64) {}
    /// A layer is in the store.
    fn finished(&self, _layer: usize) {}
    /// The image is in the store.
    fn end(&self, _name: &Reference, _pulled: &Pulled) {}
}

/// A layer, as people are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// The start of the blob's digest.
    pub id: String,
    /// Of the blob.
    pub bytes: u64,
    /// Nothing of it is going to be fetched.
    pub present: bool,
}

impl From<&Job> for LayerInfo {
    fn from(job: &Job) -> Self {
        let id = job.blob.digest.hex().chars().take(12).collect();
        Self { id, bytes: job.blob.size, present: job.present }
    }
}

/// Says nothing.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {}
