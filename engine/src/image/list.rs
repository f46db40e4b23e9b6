//! Which images `images` lists, by docker's rules.

use std::cmp::Reverse;

use super::pattern::Pattern;
use super::{Naming, Reference, catalog};
use crate::format::filter::{FilterError, Filters};
use crate::store::Store;
use crate::store::db::images::ImageRow;
use crate::time::{TimeError, now_ns, parse_rfc3339, parse_since};

/// The keys that `--filter` takes.
pub const FILTERS: [&str; 6] = ["dangling", "label", "before", "since", "reference", "until"];

#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error(transparent)]
    Image(#[from] super::Error),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("invalid filter \"until\"")]
    Until(#[source] TimeError),
}

/// An image of the list.
#[derive(Debug)]
pub struct Listed {
    pub row: ImageRow,
    /// Those of its names that are wanted.
    pub names: Vec<Reference>,
}

impl Listed {
    pub fn tags(&self) -> impl Iterator<Item = &Reference> {
        self.names.iter().filter(|name| name.digest.is_none())
    }
}

/// When an image was made, in nanoseconds since 1970; None if it does not say.
pub fn created(row: &ImageRow) -> Option<i64> {
    parse_rfc3339(&row.created)
}

/// The time that a filter means, the last of them if there are several.
pub fn until(filters: &Filters) -> Result<Option<i64>, ListError> {
    filters
        .values("until")
        .last()
        .map(|word| parse_since(word, now_ns()).map_err(ListError::Until))
        .transpose()
}

/// Youngest first. `reference`: only this repository or name, a pattern like those of the filters.
pub fn list(
    store: &Store,
    naming: &Naming,
    filters: &Filters,
    reference: Option<&str>,
) -> Result<Vec<Listed>, ListError> {
    let patterns: Vec<Pattern> = filters.values("reference").chain(reference).map(Pattern::new).collect();
    let dangling = filters.flag("dangling")?;
    let moment = |key: &str| match filters.values(key).last() {
        // One that says nothing is older than all others.
        Some(name) => catalog::find(store, naming, name).map(|row| Some(created(&row).unwrap_or(i64::MIN))),
        None => Ok(None),
    };
    let (before, since, until) = (moment("before")?, moment("since")?, until(filters)?);
    let mut listed = Vec::new();
    for row in catalog::list(store)? {
        let made = created(&row).unwrap_or(i64::MIN);
        let in_time = before.is_none_or(|before| made < before)
            && since.is_none_or(|since| made > since)
            && until.is_none_or(|until| made <= until);
        if !in_time || (filters.contains("label") && !is_labelled(store, &row, filters)?) {
            continue;
        }
        let names = row.names.iter().filter_map(|(name, _)| name.parse().ok());
        let names = names
            .filter(|name| {
                patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(naming, name))
            })
            .collect();
        let image = Listed { row, names };
        let wanted = match dangling {
            Some(true) => image.tags().next().is_none() && (patterns.is_empty() || !image.names.is_empty()),
            Some(false) => !image.names.is_empty(),
            None => patterns.is_empty() || !image.names.is_empty(),
        };
        if wanted {
            listed.push(image);
        }
    }
    // Stable: what is of one time stays in the order in which it came, the last first.
    listed.sort_by_key(|image| Reverse(created(&image.row)));
    Ok(listed)
}

fn is_labelled(store: &Store, row: &ImageRow, filters: &Filters) -> super::Result<bool> {
    Ok(filters.labels("label", &catalog::config(store, &row.id)?.config.labels))
}
