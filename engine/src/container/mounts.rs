//! What inspect and ps show of a container's mounts, in docker's shape.

use std::collections::BTreeSet;

use hull_guest::protocol::Mount;
use serde_json::{Value, json};

use super::config::Config;
use crate::store::{self, Kind as ErrorKind, Store};
use crate::volume::parse::{propagation_word, tmpfs_target};
use crate::volume::{Kind, MountPoint, VolumeRow};

/// inspect's `Mounts`. File systems in memory are there if they came as `--mount`.
pub fn inspected(store: &Store, config: &Config) -> Result<Vec<Value>, store::Error> {
    let mut shown = Vec::new();
    for point in &config.volumes {
        shown.push(match &point.kind {
            Kind::Bind { .. } => bind(point),
            Kind::Volume { name, .. } => volume(point, name, volume_row(store, name)?.as_ref(), store),
        });
    }
    let asked = of_mount(config);
    let in_memory = config.mounts.iter().filter_map(|mount| Some((tmpfs_target(mount)?, mount)));
    shown.extend(in_memory.filter(|(target, _)| asked.contains(target)).map(|(target, mount)| {
        let writable =
            matches!(mount, Mount::Tmpfs { options, .. } if options.iter().all(|word| word != "ro"));
        json!({"Type": "tmpfs", "Source": "", "Destination": target, "Mode": "", "RW": writable,
            "Propagation": ""})
    }));
    Ok(shown)
}

fn bind(point: &MountPoint) -> Value {
    json!({
        "Type": "bind",
        "Source": source(point),
        "Destination": point.target,
        "Mode": point.mode,
        "RW": !point.readonly,
        "Propagation": propagation_word(point.propagation),
    })
}

fn volume(point: &MountPoint, name: &str, row: Option<&VolumeRow>, store: &Store) -> Value {
    json!({
        "Type": "volume",
        "Name": name,
        "Source": store.paths().volume(name).join("_data"),
        "Destination": point.target,
        "Driver": row.map_or("", |row| row.driver.as_str()),
        "Mode": point.mode,
        "RW": !point.readonly,
        "Propagation": "",
    })
}

fn volume_row(store: &Store, name: &str) -> Result<Option<VolumeRow>, store::Error> {
    match store.db().volume(name) {
        Ok(row) => Ok(Some(row)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where `--mount type=tmpfs` has put file systems in memory.
fn of_mount(config: &Config) -> BTreeSet<String> {
    let mounts = config.shown_mounts.mounts.iter().filter(|mount| mount["Type"] == "tmpfs");
    mounts
        .filter_map(|mount| mount["Target"].as_str())
        .filter_map(|word| crate::volume::parse::target(word).ok())
        .collect()
}

/// HostConfig's `Tmpfs`: what `--tmpfs` asked for.
pub fn in_memory(config: &Config) -> Value {
    let asked = &config.shown_mounts.tmpfs;
    if asked.is_empty() { Value::Null } else { json!(asked) }
}

/// A volume's name, or a path of the host: ps has these in its column, and `--filter volume=` finds them.
pub fn source(point: &MountPoint) -> String {
    match &point.kind {
        Kind::Bind { source, .. } => source.display().to_string(),
        Kind::Volume { name, .. } => name.clone(),
    }
}

/// Whether something of this name, from this path or at this target is mounted.
pub fn has(config: &Config, wanted: &str) -> bool {
    let in_memory = of_mount(config);
    in_memory.contains(wanted)
        || config.volumes.iter().any(|point| point.target == wanted || source(point) == wanted)
}
