//! What happened, for `hull events`. The row of an event shares the transaction of what it tells of.
//!
//! Ids give the order; times are the wall clock's, which may jump.

use std::collections::BTreeMap;
use std::str::FromStr;

use rusqlite::{Connection, Row, params};
use serde::Deserialize;

use super::containers::{ContainerRow, container_with_id, malformed, word_column};
use super::{Database, Result};
use crate::time::now_ns;

/// Events that stay; some more do until the next clearing.
const KEPT: i64 = 4096;
/// Events between two clearings.
const CLEARING: i64 = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Container,
    Pod,
    Image,
    Network,
    Volume,
}

impl EventKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Pod => "pod",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
        }
    }
}

impl FromStr for EventKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = [Self::Container, Self::Pod, Self::Image, Self::Network, Self::Volume]
            .into_iter()
            .find(|kind| kind.as_str() == text);
        found.ok_or_else(|| format!("unknown kind of event \"{text}\""))
    }
}

pub type Attributes = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub id: i64,
    /// Nanoseconds since 1970.
    pub time: i64,
    pub kind: EventKind,
    /// Docker's words.
    pub action: String,
    /// The container's, pod's, image's or network's id, the volume's name.
    pub actor: String,
    pub attributes: Attributes,
}

/// Where a reader of events begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// After the event of this id; 0: with the oldest.
    Id(i64),
    /// At this time, nanoseconds since 1970.
    Time(i64),
}

impl Database {
    /// Records what changes no row. For a container that is there, its image, name and labels are added.
    pub fn record_event(
        &self,
        kind: EventKind,
        action: &str,
        actor: &str,
        attributes: &[(&str, &str)],
    ) -> Result<()> {
        self.write("record an event", |tx| {
            let row = match kind {
                EventKind::Container => container_with_id(tx, actor)?,
                EventKind::Pod | EventKind::Image | EventKind::Network | EventKind::Volume => None,
            };
            match row {
                Some(row) => of_container(tx, &row, action, attributes)?,
                None => insert(tx, kind, action, actor, &owned(attributes))?,
            }
            Ok(())
        })
    }

    /// The first `limit` events from `since` on, and not after `until` (nanoseconds since 1970).
    pub fn events(&self, since: Since, until: Option<i64>, limit: u32) -> Result<Vec<EventRow>> {
        let (id, time) = match since {
            Since::Id(id) => (id, i64::MIN),
            Since::Time(time) => (0, time),
        };
        self.read("list events", |db| {
            db.prepare_cached(
                "SELECT id, time, kind, action, actor, attributes FROM events
                 WHERE id > ? AND time BETWEEN ? AND ? ORDER BY id LIMIT ?",
            )?
            .query_map(params![id, time, until.unwrap_or(i64::MAX), limit], event_from)?
            .collect()
        })
    }

    /// The id of the latest event; 0 before the first.
    pub fn last_event(&self) -> Result<i64> {
        self.read("list events", |db| {
            db.prepare_cached("SELECT coalesce(max(id), 0) FROM events")?.query_row([], |row| row.get(0))
        })
    }
}

fn event_from(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    let attributes = row.get_ref(5)?.as_str()?;
    Ok(EventRow {
        id: row.get(0)?,
        time: row.get(1)?,
        kind: word_column(row, 2)?,
        action: row.get(3)?,
        actor: row.get(4)?,
        attributes: serde_json::from_str(attributes).map_err(|error| malformed(error.to_string()))?,
    })
}

/// What of a container's config its events repeat.
#[derive(Deserialize)]
struct Told {
    image: Option<String>,
    #[serde(default)]
    labels: Attributes,
}

/// Records an event of a container, with docker's attributes: its labels, image and name.
pub(super) fn of_container(
    tx: &Connection,
    row: &ContainerRow,
    action: &str,
    attributes: &[(&str, &str)],
) -> rusqlite::Result<()> {
    let told =
        serde_json::from_str::<Told>(&row.config).unwrap_or(Told { image: None, labels: Attributes::new() });
    let mut all = told.labels;
    all.insert("image".to_owned(), told.image.unwrap_or_else(|| row.image.to_string()));
    all.insert("name".to_owned(), row.name.clone());
    all.extend(owned(attributes));
    insert(tx, EventKind::Container, action, &row.id, &all)
}

fn owned(attributes: &[(&str, &str)]) -> Attributes {
    attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn insert(
    tx: &Connection,
    kind: EventKind,
    action: &str,
    actor: &str,
    attributes: &Attributes,
) -> rusqlite::Result<()> {
    let attributes = serde_json::to_string(attributes).map_err(|error| malformed(error.to_string()))?;
    tx.prepare_cached("INSERT INTO events(time, kind, action, actor, attributes) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![now_ns(), kind.as_str(), action, actor, attributes])?;
    let id = tx.last_insert_rowid();
    if id % CLEARING == 0 {
        tx.prepare_cached("DELETE FROM events WHERE id <= ?")?.execute([id - KEPT])?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
