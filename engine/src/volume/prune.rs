//! Removing the volumes that no container was made with.

use super::model::LOCAL;
use super::{VolumeError, VolumeRow, catalog, usage};
use crate::format::filter::Filters;
use crate::store::{self, EventKind, Store};
use crate::supervisor::chain;

/// The keys that `--filter` takes.
pub const FILTERS: [&str; 3] = ["all", "label", "label!"];

#[derive(Debug, Default)]
pub struct Pruned {
    pub names: Vec<String>,
    pub bytes: u64,
}

/// Removes hull's own that match: without `all` only those without a name of their own. Plugins' stay, as docker's do.
pub fn prune(store: &Store, all: bool, filters: &Filters) -> Result<Pruned, VolumeError> {
    let mut pruned = Pruned::default();
    for row in store.db().volumes()?.into_iter().filter(|row| is_wanted(row, all, filters)) {
        if !store.db().users_of(&row.name)?.is_empty() {
            continue;
        }
        let bytes = usage::bytes(store, &row).unwrap_or_default();
        match catalog::remove(store, &row.name, false) {
            Ok(()) => {
                pruned.names.push(row.name);
                pruned.bytes = pruned.bytes.saturating_add(bytes);
            }
            // A container was made with it, or somebody was faster.
            Err(VolumeError::Store(store::Error::VolumeInUse { .. } | store::Error::NotFound { .. })) => {}
            // As docker: the others go.
            Err(error) => eprintln!("Failed to remove volume {}: {}", row.name, chain(&error)),
        }
    }
    let reclaimed = pruned.bytes.to_string();
    store.db().record_event(EventKind::Volume, "prune", "", &[("reclaimed", &reclaimed)])?;
    Ok(pruned)
}

fn is_wanted(row: &VolumeRow, all: bool, filters: &Filters) -> bool {
    let labels = &row.settings.labels;
    let excluded = filters.contains("label!") && filters.labels("label!", labels);
    row.driver == LOCAL && (all || row.settings.anonymous) && !excluded && filters.labels("label", labels)
}
