//! Rows of sandboxes and containers.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::{Database, Error, Failure, Result};
use crate::image::digest::Digest;

/// A sandbox about to be made.
#[derive(Debug, Clone)]
pub struct NewSandbox {
    pub id: String,
    pub boot_id: String,
    pub mode: String,
    /// Seconds since 1970.
    pub created: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxRow {
    pub id: String,
    /// The user its VMM runs as; nobody else's while the row is there.
    pub uid: Option<u32>,
    pub boot_id: String,
    pub mode: String,
    pub created: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running,
    Exited,
    /// Being removed; whoever meets it finishes the removal.
    Removing,
}

impl ContainerState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Removing => "removing",
        }
    }

    fn from_column(text: &str) -> rusqlite::Result<Self> {
        [Self::Created, Self::Running, Self::Exited, Self::Removing]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| malformed(format!("unknown container state \"{text}\"")))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRow {
    pub id: String,
    pub name: String,
    /// The image's id.
    pub image: Digest,
    pub sandbox: Option<String>,
    pub mode: String,
    pub state: ContainerState,
    /// Seconds since 1970.
    pub created: i64,
    pub exit_code: Option<i32>,
    /// JSON.
    pub config: String,
}

/// A column that holds what no release of hull writes.
pub(super) fn malformed(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, what.into())
}

fn sandbox_from(row: &Row<'_>) -> rusqlite::Result<SandboxRow> {
    Ok(SandboxRow {
        id: row.get(0)?,
        uid: row.get(1)?,
        boot_id: row.get(2)?,
        mode: row.get(3)?,
        created: row.get(4)?,
    })
}

const SANDBOX: &str = "SELECT id, uid, boot_id, mode, created FROM sandboxes";

fn container_from(row: &Row<'_>) -> rusqlite::Result<ContainerRow> {
    Ok(ContainerRow {
        id: row.get(0)?,
        name: row.get(1)?,
        image: super::images::digest_column(row, 2)?,
        sandbox: row.get(3)?,
        mode: row.get(4)?,
        state: ContainerState::from_column(&row.get::<_, String>(5)?)?,
        created: row.get(6)?,
        exit_code: row.get(7)?,
        config: row.get(8)?,
    })
}

const CONTAINER: &str =
    "SELECT id, name, image, sandbox, mode, state, created, exit_code, config FROM containers";

impl Database {
    /// Adds a sandbox. With `uids` (first, count) it gets the smallest of them that is free.
    pub fn add_sandbox(&self, new: &NewSandbox, uids: Option<(u32, u32)>) -> Result<SandboxRow> {
        self.write("add a sandbox", |tx| insert_sandbox(tx, new, uids))
    }

    pub fn sandboxes(&self) -> Result<Vec<SandboxRow>> {
        self.read("list sandboxes", |db| {
            db.prepare_cached(&format!("{SANDBOX} ORDER BY created, id"))?
                .query_map([], sandbox_from)?
                .collect()
        })
    }

    pub fn sandbox(&self, id: &str) -> Result<Option<SandboxRow>> {
        self.read("look up a sandbox", |db| {
            db.prepare_cached(&format!("{SANDBOX} WHERE id = ?"))?.query_row([id], sandbox_from).optional()
        })
    }

    /// Removes a sandbox that no container is in any more; its user id is free again.
    pub fn remove_sandbox(&self, id: &str) -> Result<()> {
        self.write("remove a sandbox", |tx| {
            tx.execute("DELETE FROM sandboxes WHERE id = ?", [id])?;
            Ok(())
        })
    }

    /// Adds a container. From here on its image's files stay.
    pub fn add_container(&self, row: &ContainerRow) -> Result<()> {
        self.write("add a container", |tx| insert_container(tx, row))
    }

    pub fn containers(&self) -> Result<Vec<ContainerRow>> {
        self.read("list containers", |db| {
            db.prepare_cached(&format!("{CONTAINER} ORDER BY created, id"))?
                .query_map([], container_from)?
                .collect()
        })
    }

    pub fn containers_of_sandbox(&self, sandbox: &str) -> Result<Vec<ContainerRow>> {
        self.read("list a sandbox's containers", |db| {
            db.prepare_cached(&format!("{CONTAINER} WHERE sandbox = ? ORDER BY created, id"))?
                .query_map([sandbox], container_from)?
                .collect()
        })
    }

    /// The container of this id, else of this name, else the only one whose id starts so.
    pub fn container(&self, wanted: &str) -> Result<ContainerRow> {
        let found = self.read("look up a container", |db| {
            let exact = db
                .prepare_cached(&format!(
                    "{CONTAINER} WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1"
                ))?
                .query_row([wanted], container_from)
                .optional()?;
            if let Some(row) = exact {
                return Ok(vec![row]);
            }
            if wanted.is_empty() || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Ok(Vec::new());
            }
            db.prepare_cached(&format!("{CONTAINER} WHERE id GLOB ? || '*' LIMIT 2"))?
                .query_map([wanted], container_from)?
                .collect()
        })?;
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some(row), None) => Ok(row),
            (None, _) => Err(Error::NotFound { what: "container", name: wanted.to_owned() }),
            (Some(_), Some(_)) => Err(Error::Ambiguous { what: "container", name: wanted.to_owned() }),
        }
    }

    /// Moves a container to another state. The sandbox and the exit code are set where given, and
    /// keep their value otherwise.
    pub fn update_container(
        &self,
        id: &str,
        state: ContainerState,
        sandbox: Option<&str>,
        exit_code: Option<i32>,
    ) -> Result<()> {
        self.write("update a container", |tx| {
            let changed = tx.execute(
                "UPDATE containers SET state = ?, sandbox = coalesce(?, sandbox), exit_code = coalesce(?, exit_code)
                 WHERE id = ?",
                params![state.as_str(), sandbox, exit_code, id],
            )?;
            found_one(changed, id)
        })
    }

    /// Takes a container out of its sandbox.
    pub fn detach_container(&self, id: &str) -> Result<()> {
        self.write("detach a container", |tx| {
            found_one(tx.execute("UPDATE containers SET sandbox = NULL WHERE id = ?", [id])?, id)
        })
    }

    /// Removes a container's row, if it is there.
    pub fn remove_container(&self, id: &str) -> Result<()> {
        self.write("remove a container", |tx| {
            tx.execute("DELETE FROM containers WHERE id = ?", [id])?;
            Ok(())
        })
    }
}

pub(super) fn insert_sandbox(
    tx: &Connection,
    new: &NewSandbox,
    uids: Option<(u32, u32)>,
) -> Result<SandboxRow, Failure> {
    let uid = uids.map(|(first, count)| free_uid(tx, first, count)).transpose()?;
    tx.execute(
        "INSERT INTO sandboxes(id, uid, boot_id, mode, created) VALUES (?, ?, ?, ?, ?)",
        params![new.id, uid, new.boot_id, new.mode, new.created],
    )?;
    let NewSandbox { id, boot_id, mode, created } = new.clone();
    Ok(SandboxRow { id, uid, boot_id, mode, created })
}

pub(super) fn insert_container(tx: &Connection, row: &ContainerRow) -> Result<(), Failure> {
    let image = row.image.to_string();
    let there = tx.prepare_cached("SELECT 1 FROM images WHERE id = ? AND NOT hidden")?.exists([&image])?;
    if !there {
        return Err(Error::NotFound { what: "image", name: image }.into());
    }
    tx.execute(
        "INSERT INTO containers(id, name, image, sandbox, mode, state, created, exit_code, config)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            row.id,
            row.name,
            image,
            row.sandbox,
            row.mode,
            row.state.as_str(),
            row.created,
            row.exit_code,
            row.config
        ],
    )
    .map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) if name_exists(tx, &row.name) => {
            Failure::Typed(Error::NameTaken(row.name.clone()))
        }
        _ => error.into(),
    })?;
    Ok(())
}

fn found_one(changed: usize, id: &str) -> Result<(), Failure> {
    if changed == 0 {
        return Err(Error::NotFound { what: "container", name: id.to_owned() }.into());
    }
    Ok(())
}

fn name_exists(db: &Connection, name: &str) -> bool {
    db.prepare_cached("SELECT 1 FROM containers WHERE name = ?")
        .and_then(|mut s| s.exists([name]))
        .unwrap_or(false)
}

fn free_uid(db: &Connection, first: u32, count: u32) -> Result<u32, Failure> {
    let end = first.saturating_add(count);
    let taken: Vec<u32> = db
        .prepare_cached("SELECT uid FROM sandboxes WHERE uid >= ? AND uid < ? ORDER BY uid")?
        .query_map([first, end], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let gap = taken.iter().zip(first..).find(|(uid, expected)| **uid != *expected).map(|(_, free)| free);
    let next = gap.or_else(|| u32::try_from(taken.len()).ok().and_then(|used| first.checked_add(used)));
    match next {
        Some(uid) if uid < end => Ok(uid),
        _ => Err(Error::NoFreeUid { first, count }.into()),
    }
}

#[cfg(test)]
#[path = "containers_tests.rs"]
mod tests;
