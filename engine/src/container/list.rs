//! Which containers `ps` lists, in which order, by docker's rules.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::config::Config;
use super::health::Health;
use super::mounts;
use crate::format::filter::{FilterError, Filters};
use crate::image::{Naming, Reference, catalog, digest::Digest};
use crate::store::db::images::ImageRow;
use crate::store::{self, ContainerRow, ContainerState, Store};

/// The keys that `--filter` takes.
pub const FILTERS: [&str; 12] = [
    "id",
    "name",
    "label",
    "status",
    "exited",
    "before",
    "since",
    "ancestor",
    "health",
    "isolation",
    "volume",
    "is-task",
];

const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Image(#[from] crate::image::Error),
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// What is asked for.
#[derive(Debug, Default)]
pub struct Selection {
    /// Those too that do not run.
    pub all: bool,
    /// Only so many of the youngest, running or not.
    pub latest: Option<usize>,
    pub filters: Filters,
    /// How containers' images are named.
    pub naming: Naming,
}

/// A container of the list. No config: a release that this one does not know has written it.
#[derive(Debug)]
pub struct Listed {
    pub row: ContainerRow,
    pub config: Option<Config>,
    /// Its image's name, or its id if the name means another image by now.
    pub image: String,
    /// Where it is checked.
    pub health: Option<String>,
}

/// Youngest first. `images` are those of the store: whoever lists may want more of them than their names.
pub fn list(store: &Store, selection: &Selection, images: &[ImageRow]) -> Result<Vec<Listed>, ListError> {
    let rule = Rule::new(store, selection)?;
    let names: HashMap<&str, &Digest> = images
        .iter()
        .flat_map(|image| image.names.iter().map(|(name, _)| (name.as_str(), &image.id)))
        .collect();
    let mut listed = Vec::new();
    let mut rows = store.db().containers()?;
    rows.reverse();
    let (mut before, mut counted) = (rule.before.as_deref(), 0);
    for row in rows {
        if before.is_some() {
            before = before.filter(|id| *id != row.id);
            continue;
        }
        if rule.since.as_ref() == Some(&row.id) {
            break;
        }
        let Some(config) = rule.admits(&row) else { continue };
        // As docker: what follows chooses among the latest.
        if selection.latest.is_some_and(|most| counted == most) {
            break;
        }
        counted += 1;
        let health = health(&row);
        if rule.admits_state(&row, health.as_deref()) {
            let image = image_name(&row, config.as_ref(), &names, &selection.naming);
            listed.push(Listed { row, config, image, health });
        }
    }
    Ok(listed)
}

/// The selection with its words looked up.
struct Rule<'a> {
    filters: &'a Filters,
    /// Those too that do not run.
    all: bool,
    exited: Vec<i32>,
    before: Option<String>,
    since: Option<String>,
    ancestors: BTreeSet<Digest>,
    tasks: bool,
}

impl<'a> Rule<'a> {
    fn new(store: &Store, selection: &'a Selection) -> Result<Rule<'a>, ListError> {
        let filters = &selection.filters;
        let known = |key: &str, words: &[&str]| match filters.values(key).find(|value| !words.contains(value))
        {
            Some(value) => Err(FilterError::value(key, value)),
            None => Ok(()),
        };
        known("status", &ContainerState::ALL.map(ContainerState::as_str))?;
        known("health", &HEALTHS)?;
        let exited = filters
            .values("exited")
            .map(|code| code.parse().map_err(|_| FilterError::value("exited", code)))
            .collect::<Result<_, _>>()?;
        let id_of = |key: &str| match filters.values(key).last() {
            Some(name) => store.db().container(name).map(|row| Some(row.id)),
            None => Ok(None),
        };
        let mut ancestors = BTreeSet::new();
        for name in filters.values("ancestor") {
            match catalog::find(store, &selection.naming, name) {
                Ok(image) => drop(ancestors.insert(image.id)),
                Err(crate::image::Error::NotFound(_) | crate::image::Error::Reference(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Rule {
            filters,
            all: selection.all || selection.latest.is_some() || filters.contains("status"),
            exited,
            before: id_of("before")?,
            since: id_of("since")?,
            ancestors,
            // Of a swarm, which there is none of.
            tasks: filters.flag("is-task")? == Some(true),
        })
    }

    /// What counts as one of the latest. The config comes with it.
    fn admits(&self, row: &ContainerRow) -> Option<Option<Config>> {
        let filters = self.filters;
        let wanted = (self.all || super::life::is_up(row))
            && !self.tasks
            && filters.name("name", &row.name)
            && filters.pattern("id", &row.id)
            && filters.pattern("isolation", row.mode.as_str());
        if !wanted {
            return None;
        }
        let config = Config::from_row(row).ok();
        let mounted = |wanted| config.as_ref().is_some_and(|config| mounts::has(config, wanted));
        if filters.contains("volume") && !filters.values("volume").any(mounted) {
            return None;
        }
        let labels = config.as_ref().map(|config| &config.labels);
        let labelled = labels.map_or(!filters.contains("label"), |labels| filters.labels("label", labels));
        labelled.then_some(config)
    }

    fn admits_state(&self, row: &ContainerRow, health: Option<&str>) -> bool {
        let ended = row.started != 0 && !super::life::is_up(row);
        (self.exited.is_empty() || (ended && self.exited.contains(&row.exit_code)))
            && self.filters.exact("status", row.state.as_str())
            && self.filters.exact("health", health.unwrap_or("none"))
            && (!self.filters.contains("ancestor") || self.ancestors.contains(&row.image))
    }
}

fn health(row: &ContainerRow) -> Option<String> {
    serde_json::from_str::<Health>(&row.health)
        .ok()
        .map(|health| health.status)
        .filter(|status| !status.is_empty())
}

fn image_name(
    row: &ContainerRow,
    config: Option<&Config>,
    names: &HashMap<&str, &Digest>,
    naming: &Naming,
) -> String {
    let named = config.map(|config| &config.image).filter(|name| {
        let means = |name: &Reference| names.get(name.canonical().as_str()).copied() == Some(&row.image);
        naming.parse(name).is_ok_and(|name| means(&name)) || row.image.hex().starts_with(name.as_str())
    });
    named.cloned().unwrap_or_else(|| row.image.to_string())
}

/// The image of each container, those too that were removed by force since.
pub fn image_sizes(
    store: &Store,
    images: &[ImageRow],
    listed: &[Listed],
) -> Result<HashMap<Digest, u64>, store::Error> {
    let mut sizes: HashMap<Digest, u64> = images.iter().map(|image| (image.id, image.bytes)).collect();
    for item in listed {
        if let Entry::Vacant(unknown) = sizes.entry(item.row.image) {
            let hidden = store.db().image_of_container(&item.row.image)?;
            unknown.insert(hidden.map_or(0, |image| image.bytes));
        }
    }
    Ok(sizes)
}
