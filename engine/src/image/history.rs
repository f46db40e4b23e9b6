//! What an image was made of, step by step.

use super::digest::Digest;
use super::error::Result;
use super::{Naming, catalog};
use crate::store::Store;
use crate::time::parse_rfc3339;

/// One step, as the image's config tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The image's own, of its last step. Those in between have none: they are not in the store.
    pub id: Option<Digest>,
    /// Nanoseconds since 1970; None if it is not said.
    pub created: Option<i64>,
    pub created_by: String,
    /// Of the layer's tar.
    pub bytes: u64,
    pub comment: String,
}

/// The last step first.
pub fn history(store: &Store, naming: &Naming, wanted: &str) -> Result<Vec<Step>> {
    let row = catalog::find(store, naming, wanted)?;
    let config = catalog::config(store, &row.id)?;
    let mut layers = store.db().layers_of(&row.id)?.into_iter();
    let mut steps: Vec<Step> = config
        .history
        .into_iter()
        .map(|step| Step {
            id: None,
            created: step.created.as_deref().and_then(parse_rfc3339),
            created_by: step.created_by,
            bytes: if step.empty_layer { 0 } else { layers.next().map_or(0, |layer| layer.tar_bytes) },
            comment: step.comment,
        })
        .collect();
    if let Some(last) = steps.last_mut() {
        last.id = Some(row.id);
    }
    steps.reverse();
    Ok(steps)
}
