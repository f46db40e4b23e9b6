//! Rows of containers: how they are added, found and listed. How they change is in [`super::states`].

use std::collections::HashSet;
use std::str::FromStr;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::events;
use super::networks::{delete_endpoints, insert_endpoint};
use super::states::ContainerState;
use super::volumes::insert_volume_users;
use super::{Database, Error, Failure, Result};
use crate::image::digest::Digest;
use crate::network::model::EndpointRow;
use crate::sandbox::mode::Isolation;
use crate::time::now_ns;

/// Times are nanoseconds since 1970 by the wall clock, 0 where it never happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRow {
    pub id: String,
    pub name: String,
    /// The image's id.
    pub image: Digest,
    /// The sandbox it is in while that lives.
    pub sandbox: Option<String>,
    pub pod: Option<String>,
    pub mode: Isolation,
    pub state: ContainerState,
    pub created: i64,
    pub started: i64,
    pub finished: i64,
    /// Of its init, as whoever runs it sees it; 0 unless it runs.
    pub pid: u32,
    /// Of its last end or failed start; 0 where there was none.
    pub exit_code: i32,
    pub oom_killed: bool,
    /// Why it did not start, or did not end well; empty if it did.
    pub error: String,
    /// By its restart policy, since a user started it.
    pub restarts: u32,
    /// A user stopped it: the restart policy holds off.
    pub stopped: bool,
    /// JSON, or empty before there is anything to say.
    pub health: String,
    /// JSON. `image` and `labels` at its top level appear in its events.
    pub config: String,
}

impl ContainerRow {
    /// One that was created now and never ran.
    pub fn new(id: &str, name: &str, image: Digest, mode: Isolation, config: String) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            image,
            sandbox: None,
            pod: None,
            mode,
            state: ContainerState::Created,
            created: now_ns(),
            started: 0,
            finished: 0,
            pid: 0,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            restarts: 0,
            stopped: false,
            health: String::new(),
            config,
        }
    }
}

/// What comes to be with a container. [`Error::NotFound`]: a network or a volume has gone meanwhile.
#[derive(Debug, Clone, Copy, Default)]
pub struct With<'a> {
    pub endpoints: &'a [EndpointRow],
    /// The names of the volumes that it uses.
    pub volumes: &'a [&'a str],
}

impl With<'_> {
    pub(super) fn insert(&self, tx: &Connection, container: &str) -> Result<(), Failure> {
        self.endpoints.iter().try_for_each(|endpoint| insert_endpoint(tx, endpoint))?;
        insert_volume_users(tx, container, self.volumes)
    }
}

/// A column that holds what no release of hull writes.
pub(super) fn malformed(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, what.into())
}

/// A word of ours in a column.
pub(super) fn word_column<T: FromStr<Err = String>>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    row.get_ref(index)?.as_str()?.parse().map_err(malformed)
}

fn container_from(row: &Row<'_>) -> rusqlite::Result<ContainerRow> {
    Ok(ContainerRow {
        id: row.get(0)?,
        name: row.get(1)?,
        image: super::images::digest_column(row, 2)?,
        sandbox: row.get(3)?,
        pod: row.get(4)?,
        mode: word_column(row, 5)?,
        state: word_column(row, 6)?,
        created: row.get(7)?,
        started: row.get(8)?,
        finished: row.get(9)?,
        pid: row.get(10)?,
        exit_code: row.get::<_, Option<i32>>(11)?.unwrap_or(0),
        oom_killed: row.get(12)?,
        error: row.get(13)?,
        restarts: row.get(14)?,
        stopped: row.get(15)?,
        health: row.get(16)?,
        config: row.get(17)?,
    })
}

/// In the order of [`container_from`] and [`insert_container`].
const COLUMNS: &str = "id, name, image, sandbox, pod, mode, state, created, started, finished, pid,
    exit_code, oom_killed, error, restarts, stopped, health, config";

impl Database {
    /// Adds a container. From here on its image's files stay.
    pub fn add_container(&self, row: &ContainerRow) -> Result<()> {
        self.add_container_with(row, With::default())
    }

    pub fn add_container_with(&self, row: &ContainerRow, with: With<'_>) -> Result<()> {
        self.write("add a container", |tx| {
            insert_container(tx, row)?;
            with.insert(tx, &row.id)
        })
    }

    /// Oldest first.
    pub fn containers(&self) -> Result<Vec<ContainerRow>> {
        self.list_containers("", None)
    }

    pub fn containers_of_sandbox(&self, sandbox: &str) -> Result<Vec<ContainerRow>> {
        self.list_containers("WHERE sandbox = ?", Some(sandbox))
    }

    pub fn containers_of_pod(&self, pod: &str) -> Result<Vec<ContainerRow>> {
        self.list_containers("WHERE pod = ?", Some(pod))
    }

    pub fn containers_in(&self, state: ContainerState) -> Result<Vec<ContainerRow>> {
        self.list_containers("WHERE state = ?", Some(state.as_str()))
    }

    /// The ids alone, from the index: for whoever only has to know what is known.
    pub fn container_ids(&self) -> Result<HashSet<String>> {
        self.read("list containers", |db| {
            db.prepare_cached("SELECT id FROM containers")?.query_map([], |row| row.get(0))?.collect()
        })
    }

    fn list_containers(&self, condition: &str, value: Option<&str>) -> Result<Vec<ContainerRow>> {
        let mut rows: Vec<ContainerRow> = self.read("list containers", |db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM containers {condition} ORDER BY id"))?
                .query_map(rusqlite::params_from_iter(value), container_from)?
                .collect()
        })?;
        // Not by SQLite, which would copy the rows, configs and all, into a sorter.
        rows.sort_by_key(|row| row.created);
        Ok(rows)
    }

    /// The container of this id, else of this name, else the only one whose id starts so.
    pub fn container(&self, wanted: &str) -> Result<ContainerRow> {
        let found = self.read("look up a container", |db| find(db, wanted))?;
        the_only("container", wanted, found)
    }
}

/// At most two of those that a user may mean.
fn find(db: &Connection, wanted: &str) -> rusqlite::Result<Vec<ContainerRow>> {
    let exact = db
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM containers WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1"
        ))?
        .query_row([wanted], container_from)
        .optional()?;
    match exact {
        Some(row) => Ok(vec![row]),
        None if !is_start_of_id(wanted) => Ok(Vec::new()),
        None => db
            .prepare_cached(&format!("SELECT {COLUMNS} FROM containers WHERE {STARTS_SO} LIMIT 2"))?
            .query_map([wanted], container_from)?
            .collect(),
    }
}

/// Ids are lower-case hexadecimal digits, all of which sort before "g": a range of the primary key.
pub(super) const STARTS_SO: &str = "id >= ?1 AND id < ?1 || 'g'";

pub(super) fn is_start_of_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(super) fn the_only<T>(what: &'static str, wanted: &str, found: Vec<T>) -> Result<T> {
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(row), None) => Ok(row),
        (None, _) => Err(Error::NotFound { what, name: wanted.to_owned() }),
        (Some(_), Some(_)) => Err(Error::Ambiguous { what, name: wanted.to_owned() }),
    }
}

/// By its whole id.
pub(super) fn container_with_id(db: &Connection, id: &str) -> rusqlite::Result<Option<ContainerRow>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM containers WHERE id = ?"))?
        .query_row([id], container_from)
        .optional()
}

pub(super) fn insert_container(tx: &Connection, row: &ContainerRow) -> Result<(), Failure> {
    let image = row.image.to_string();
    let there = tx.prepare_cached("SELECT 1 FROM images WHERE id = ? AND NOT hidden")?.exists([&image])?;
    if !there {
        return Err(Error::NotFound { what: "image", name: image }.into());
    }
    tx.prepare_cached(&format!(
        "INSERT INTO containers({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ))?
    .execute(params![
        row.id,
        row.name,
        image,
        row.sandbox,
        row.pod,
        row.mode.as_str(),
        row.state.as_str(),
        row.created,
        row.started,
        row.finished,
        row.pid,
        row.exit_code,
        row.oom_killed,
        row.error,
        row.restarts,
        row.stopped,
        row.health,
        row.config,
    ])
    .map_err(|error| name_conflict(tx, &row.name, error))?;
    Ok(events::of_container(tx, row, "create", &[])?)
}

pub(super) fn delete_container(tx: &Connection, id: &str) -> Result<(), Failure> {
    let Some(row) = container_with_id(tx, id)? else { return Ok(()) };
    delete_endpoints(tx, id)?;
    tx.prepare_cached("DELETE FROM containers WHERE id = ?")?.execute([id])?;
    Ok(events::of_container(tx, &row, "destroy", &[])?)
}

/// What the failure to give a container this name means.
pub(super) fn name_conflict(db: &Connection, name: &str, error: rusqlite::Error) -> Failure {
    let taken =
        || db.prepare_cached("SELECT 1 FROM containers WHERE name = ?").and_then(|mut s| s.exists([name]));
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) if taken().unwrap_or(false) => {
            Failure::Typed(Error::NameTaken(name.to_owned()))
        }
        _ => error.into(),
    }
}

#[cfg(test)]
#[path = "containers_tests.rs"]
mod tests;
