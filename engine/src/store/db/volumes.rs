//! Rows of volumes, of the containers that were made with them, and of the sandboxes that have them mounted.

use std::collections::HashSet;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::events::{self, EventKind};
use super::networks::{json_column, to_json};
use super::{Database, Error, Failure, Result};
use crate::volume::{VolumeRow, VolumeSettings};

const VOLUME: &str = "SELECT name, driver, created, config FROM volumes";

fn volume_from(row: &Row<'_>) -> rusqlite::Result<VolumeRow> {
    Ok(VolumeRow {
        name: row.get(0)?,
        driver: row.get(1)?,
        created: row.get(2)?,
        settings: json_column(row, 3)?,
    })
}

impl Database {
    /// Adds a volume, whose folder is there. [`Error::VolumeNameTaken`]: there is one of this name.
    pub fn add_volume(&self, row: &VolumeRow) -> Result<()> {
        self.write("add a volume", |tx| {
            tx.prepare_cached("INSERT INTO volumes(name, driver, created, config) VALUES (?, ?, ?, ?)")?
                .execute(params![row.name, row.driver, row.created, to_json(&row.settings)])
                .map_err(|error| match error.sqlite_error_code() {
                    Some(ErrorCode::ConstraintViolation) => Error::VolumeNameTaken(row.name.clone()).into(),
                    _ => Failure::Sql(error),
                })?;
            Ok(tell(tx, row, "create", &[])?)
        })
    }

    /// By its whole name.
    pub fn volume(&self, name: &str) -> Result<VolumeRow> {
        let found = self.read("look up a volume", |db| find(db, name))?;
        found.ok_or_else(|| not_found(name))
    }

    /// By name.
    pub fn volumes(&self) -> Result<Vec<VolumeRow>> {
        self.read("list volumes", |db| {
            db.prepare_cached(&format!("{VOLUME} ORDER BY name"))?.query_map([], volume_from)?.collect()
        })
    }

    pub fn volume_names(&self) -> Result<HashSet<String>> {
        self.read("list volumes", |db| {
            db.prepare_cached("SELECT name FROM volumes")?.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// Those that go with a container, and with which. Every command asks: nothing is read of the others.
    pub fn volumes_that_go(&self) -> Result<Vec<(String, String)>> {
        self.read("list volumes", |db| {
            db.prepare_cached(
                "SELECT name, json_extract(config, '$.goes_with') AS container FROM volumes WHERE container IS NOT NULL",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })
    }

    /// Writes what is kept of a volume as JSON. It is on the disk when this returns: that a machine may have written to a
    /// volume must not be forgotten.
    pub fn change_volume(&self, name: &str, settings: &VolumeSettings) -> Result<()> {
        self.write_durably("change a volume", |tx| {
            let changed = tx
                .prepare_cached("UPDATE volumes SET config = ? WHERE name = ?")?
                .execute(params![to_json(settings), name])?;
            if changed == 0 { Err(not_found(name).into()) } else { Ok(()) }
        })
    }

    /// Removes a volume that no container was made with and no sandbox has mounted. No power cut brings it back, without
    /// what it held.
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        self.write_durably("remove a volume", |tx| {
            let row = find(tx, name)?.ok_or_else(|| not_found(name))?;
            let mut users = users(tx, name)?;
            users.extend(mounts(tx, name)?);
            users.sort();
            users.dedup();
            if !users.is_empty() {
                return Err(Error::VolumeInUse { name: row.name, users }.into());
            }
            tx.prepare_cached("DELETE FROM volumes WHERE name = ?")?.execute([name])?;
            Ok(tell(tx, &row, "destroy", &[])?)
        })
    }

    /// The ids of the containers that were made with a volume.
    pub fn users_of(&self, volume: &str) -> Result<Vec<String>> {
        self.read("list a volume's containers", |db| users(db, volume))
    }

    /// The volumes that a container was made with.
    pub fn volumes_of(&self, container: &str) -> Result<Vec<String>> {
        self.read("list a container's volumes", |db| {
            db.prepare_cached("SELECT volume FROM volume_users WHERE container = ? ORDER BY volume")?
                .query_map([container], |row| row.get(0))?
                .collect()
        })
    }

    /// The names of volumes that a container was made with, once for each container.
    pub fn used_volumes(&self) -> Result<Vec<String>> {
        self.read("list volumes' containers", |db| {
            db.prepare_cached("SELECT volume FROM volume_users")?.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// Adds a sandbox to those that have a volume mounted. With `alone` there may be no other. False: it is one
    /// of them already.
    pub fn add_volume_mount(&self, volume: &str, sandbox: &str, alone: bool) -> Result<bool> {
        self.write("mount a volume", |tx| {
            let row = find(tx, volume)?.ok_or_else(|| not_found(volume))?;
            let others = mounts(tx, volume)?;
            if others.iter().any(|other| other == sandbox) {
                return Ok(false);
            }
            if let Some(other) = others.into_iter().next().filter(|_| alone) {
                return Err(Error::VolumeBusy { name: row.name, sandbox: other }.into());
            }
            tx.prepare_cached("INSERT INTO volume_mounts(volume, sandbox) VALUES (?, ?)")?
                .execute([volume, sandbox])?;
            tell(tx, &row, "mount", &[("container", sandbox)])?;
            Ok(true)
        })
    }

    /// Takes a sandbox from those that have a volume mounted.
    pub fn remove_volume_mount(&self, volume: &str, sandbox: &str) -> Result<()> {
        self.write("unmount a volume", |tx| {
            let gone = tx
                .prepare_cached("DELETE FROM volume_mounts WHERE volume = ? AND sandbox = ?")?
                .execute([volume, sandbox])?;
            match find(tx, volume)?.filter(|_| gone > 0) {
                Some(row) => Ok(tell(tx, &row, "unmount", &[("container", sandbox)])?),
                None => Ok(()),
            }
        })
    }

    /// The sandboxes that have a volume mounted.
    pub fn mounts_of(&self, volume: &str) -> Result<Vec<String>> {
        self.read("list a volume's mounts", |db| mounts(db, volume))
    }

    /// The volumes that a sandbox has mounted.
    pub fn mounted_by(&self, sandbox: &str) -> Result<Vec<String>> {
        self.read("list a sandbox's volumes", |db| {
            db.prepare_cached("SELECT volume FROM volume_mounts WHERE sandbox = ? ORDER BY volume")?
                .query_map([sandbox], |row| row.get(0))?
                .collect()
        })
    }

    /// Sandboxes that are not there, and have volumes mounted.
    pub fn stranded_mounts(&self) -> Result<Vec<String>> {
        self.read("look for stranded mounts", |db| {
            db.prepare_cached(
                "SELECT DISTINCT sandbox FROM volume_mounts WHERE sandbox NOT IN (SELECT id FROM sandboxes)",
            )?
            .query_map([], |row| row.get(0))?
            .collect()
        })
    }
}

fn not_found(name: &str) -> Error {
    Error::NotFound { what: "volume", name: name.to_owned() }
}

fn find(db: &Connection, name: &str) -> rusqlite::Result<Option<VolumeRow>> {
    db.prepare_cached(&format!("{VOLUME} WHERE name = ?"))?.query_row([name], volume_from).optional()
}

fn users(db: &Connection, volume: &str) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached("SELECT container FROM volume_users WHERE volume = ? ORDER BY container")?
        .query_map([volume], |row| row.get(0))?
        .collect()
}

fn mounts(db: &Connection, volume: &str) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached("SELECT sandbox FROM volume_mounts WHERE volume = ? ORDER BY sandbox")?
        .query_map([volume], |row| row.get(0))?
        .collect()
}

/// What a container that is being added is made with. From here on these volumes stay.
pub(super) fn insert_volume_users(tx: &Connection, container: &str, volumes: &[&str]) -> Result<(), Failure> {
    for volume in volumes {
        find(tx, volume)?.ok_or_else(|| not_found(volume))?;
        tx.prepare_cached("INSERT OR IGNORE INTO volume_users(volume, container) VALUES (?, ?)")?
            .execute([*volume, container])?;
    }
    Ok(())
}

/// Docker's attributes, as far as the volume knows them.
fn tell(tx: &Connection, row: &VolumeRow, action: &str, attributes: &[(&str, &str)]) -> rusqlite::Result<()> {
    let mut all = events::Attributes::from([("driver".to_owned(), row.driver.clone())]);
    all.extend(attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    events::insert(tx, EventKind::Volume, action, &row.name, &all)
}

#[cfg(test)]
#[path = "volumes_tests.rs"]
mod tests;
