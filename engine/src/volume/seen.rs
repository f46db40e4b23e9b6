//! Volumes as users see them: hull's own rows, and what plugins have beside them.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::driver::plugin::{self, Plugin, PluginError, Scope, Volume};
use super::folder::Folder;
use super::model::LOCAL;
use super::{VolumeError, VolumeRow, VolumeSettings, catalog};
use crate::format::filter::Filters;
use crate::store::{Kind, Store};
use crate::supervisor::chain;
use crate::time::{parse_rfc3339, rfc3339_seconds_local};

/// The keys that `--filter` takes.
pub const FILTERS: [&str; 4] = ["dangling", "driver", "label", "name"];

/// A volume with what its driver tells of it.
#[derive(Debug)]
pub struct Seen {
    pub row: VolumeRow,
    /// Empty where its plugin does not say.
    pub mountpoint: String,
    pub scope: Scope,
    pub status: Option<Map<String, Value>>,
}

/// Those that are wanted, by name, and what plugins there was no hearing from.
pub fn list(store: &Store, filters: &Filters) -> Result<(Vec<Seen>, Vec<String>), VolumeError> {
    let dangling = filters.flag("dangling")?;
    let used = store.db().used_volumes()?;
    let mut told = Told::default();
    let rows = store.db().volumes()?;
    let mut seen: Vec<Seen> = rows.into_iter().map(|row| told.add(store, row)).collect();
    for name in plugin::names() {
        for volume in told.volumes(&name) {
            if seen.iter().all(|seen| seen.row.name != volume.name) {
                seen.push(told.foreign(&name, volume));
            }
        }
    }
    seen.retain(|Seen { row, .. }| {
        filters.pattern("name", &row.name)
            && filters.exact("driver", &row.driver)
            && filters.labels("label", &row.settings.labels)
            && dangling.is_none_or(|dangling| dangling != used.contains(&row.name))
    });
    seen.sort_by(|a, b| a.row.name.cmp(&b.row.name));
    Ok((seen, told.silent))
}

/// One, by its whole name.
pub fn find(store: &Store, name: &str) -> Result<Seen, VolumeError> {
    match store.db().volume(name) {
        Ok(row) => {
            let found = (row.driver != LOCAL).then(|| Plugin::find(&row.driver).ok()?.look(name)).flatten();
            let (scope, volume) = found.unwrap_or((Scope::Local, None));
            Ok(Seen::new(store, row, scope, volume))
        }
        Err(error) if error.kind() == Kind::NotFound => {
            let driver = catalog::check_name(name).ok().and_then(|()| elsewhere(name));
            let driver = driver.ok_or(error)?;
            let (scope, volume) = Plugin::find(&driver)
                .ok()
                .and_then(|plugin| plugin.look(name))
                .unwrap_or((Scope::Local, None));
            Ok(Seen::new(store, foreign(name, &driver), scope, volume))
        }
        Err(error) => Err(error.into()),
    }
}

/// The plugin that has a volume of this name, whoever made it.
pub(super) fn elsewhere(name: &str) -> Option<String> {
    let has_it = |plugin: &String| {
        Plugin::find(plugin).and_then(|plugin| plugin.get(name)).is_ok_and(|volume| volume.is_some())
    };
    plugin::names().into_iter().find(has_it)
}

/// What would be a row.
pub(super) fn foreign(name: &str, driver: &str) -> VolumeRow {
    let (name, driver) = (name.to_owned(), driver.to_owned());
    VolumeRow { name, driver, created: 0, settings: VolumeSettings::default() }
}

/// What plugins have told, each asked once.
#[derive(Default)]
struct Told {
    by_plugin: HashMap<String, (Scope, Vec<Volume>)>,
    silent: Vec<String>,
}

impl Told {
    fn of(&mut self, plugin: &str) -> &(Scope, Vec<Volume>) {
        if !self.by_plugin.contains_key(plugin) {
            let told = Plugin::find(plugin).and_then(|plugin| Ok((plugin.scope()?, plugin.list()?)));
            let told = told.unwrap_or_else(|error| {
                // It has something else than volumes.
                if !matches!(error, PluginError::NoVolumes { .. }) {
                    self.silent.push(chain(&error));
                }
                (Scope::Local, Vec::new())
            });
            self.by_plugin.insert(plugin.to_owned(), told);
        }
        self.by_plugin.entry(plugin.to_owned()).or_insert((Scope::Local, Vec::new()))
    }

    fn volumes(&mut self, plugin: &str) -> Vec<Volume> {
        self.of(plugin).1.clone()
    }

    fn add(&mut self, store: &Store, row: VolumeRow) -> Seen {
        if row.driver == LOCAL {
            return Seen::new(store, row, Scope::Local, None);
        }
        let (scope, volumes) = self.of(&row.driver);
        let volume = volumes.iter().find(|volume| volume.name == row.name).cloned();
        Seen::new(store, row, *scope, volume)
    }

    fn foreign(&mut self, plugin: &str, volume: Volume) -> Seen {
        let scope = self.of(plugin).0;
        let row = foreign(&volume.name, plugin);
        Seen::of_plugin(row, scope, Some(volume))
    }
}

impl Seen {
    fn new(store: &Store, row: VolumeRow, scope: Scope, volume: Option<Volume>) -> Self {
        if row.driver != LOCAL {
            return Self::of_plugin(row, scope, volume);
        }
        let mountpoint = place(store, &row);
        Self { row, mountpoint, scope, status: None }
    }

    fn of_plugin(mut row: VolumeRow, scope: Scope, volume: Option<Volume>) -> Self {
        let Some(volume) = volume else {
            return Self { row, mountpoint: String::new(), scope, status: None };
        };
        if row.created == 0 {
            row.created = parse_rfc3339(&volume.created).unwrap_or(0);
        }
        Self { row, mountpoint: volume.mountpoint, scope, status: volume.status }
    }

    /// Docker's fields.
    pub fn description(&self) -> Value {
        let VolumeRow { name, driver, created, settings } = &self.row;
        let mut fields = Map::new();
        if *created != 0 {
            fields.insert("CreatedAt".to_owned(), json!(rfc3339_seconds_local(*created)));
        }
        fields.insert("Driver".to_owned(), json!(driver));
        fields.insert("Labels".to_owned(), or_null(&settings.labels));
        fields.insert("Mountpoint".to_owned(), json!(self.mountpoint));
        fields.insert("Name".to_owned(), json!(name));
        fields.insert("Options".to_owned(), or_null(&settings.options));
        fields.insert("Scope".to_owned(), json!(self.scope.as_str()));
        if let Some(status) = &self.status {
            fields.insert("Status".to_owned(), json!(status));
        }
        Value::Object(fields)
    }
}

/// Where one of hull's own is: a folder, or a disk's file.
pub fn place(store: &Store, row: &VolumeRow) -> String {
    let folder = Folder::of(store, &row.name);
    let place = if row.settings.block_bytes.is_some() { folder.disk() } else { folder.data() };
    place.to_string_lossy().into_owned()
}

fn or_null(pairs: &std::collections::BTreeMap<String, String>) -> Value {
    if pairs.is_empty() { Value::Null } else { json!(pairs) }
}

/// The words of `hull info`: the drivers that there are.
pub fn drivers() -> Vec<String> {
    let plugins = plugin::names().into_iter().filter(|name| Plugin::find(name).is_ok());
    std::iter::once(LOCAL.to_owned()).chain(plugins).collect()
}

#[cfg(test)]
#[path = "seen_tests.rs"]
mod tests;
