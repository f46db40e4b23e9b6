//! Removing images that nobody uses.

use super::list::{ListError, created, until};
use super::usage::Usage;
use super::{catalog, gc};
use crate::format::filter::Filters;
use crate::store::Store;
use crate::store::db::removal::Removed;

/// The keys that `--filter` takes.
pub const FILTERS: [&str; 4] = ["until", "label", "label!", "dangling"];

/// What went, and the bytes of files that only it needed.
#[derive(Debug, Default)]
pub struct Pruned {
    pub removed: Vec<Removed>,
    pub bytes: u64,
}

/// Removes images without a tag, or `all`, that no container was made of.
pub fn prune(store: &Store, all: bool, filters: &Filters) -> Result<Pruned, ListError> {
    // Docker's other way to say `all`.
    let all = filters.flag("dangling")?.map_or(all, |dangling| !dangling);
    let until = until(filters)?;
    let bytes =
        || store.db().inventory().map(|images| Usage::of(&images).total()).map_err(super::Error::from);
    let before = bytes()?;
    let mut removed = Vec::new();
    for row in catalog::list(store)? {
        let is_tagged = row.names.iter().any(|(name, _)| !name.contains('@'));
        let in_time = until.is_none_or(|until| created(&row).is_none_or(|made| made <= until));
        if (is_tagged && !all) || !in_time {
            continue;
        }
        if filters.contains("label") || filters.contains("label!") {
            let labels = catalog::config(store, &row.id)?.config.labels;
            let excluded = filters.contains("label!") && filters.labels("label!", &labels);
            if excluded || !filters.labels("label", &labels) {
                continue;
            }
        }
        // It may have got a name meanwhile.
        match store.db().remove_unused_image(&row.id, all) {
            Ok(gone) => removed.extend(gone),
            // Another process was faster.
            Err(crate::store::Error::NotFound { .. }) => {}
            Err(error) => return Err(super::Error::from(error).into()),
        }
    }
    let bytes = before.saturating_sub(bytes()?);
    gc::collect(store)?;
    Ok(Pruned { removed, bytes })
}
