//! Rows of sandboxes. A row claims that the sandbox lives; its id is a container's, or a pod's.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::containers::word_column;
use super::{Database, Error, Failure, Result};
use crate::sandbox::mode::Isolation;

/// A sandbox about to be made.
#[derive(Debug, Clone)]
pub struct NewSandbox {
    pub id: String,
    pub boot_id: String,
    pub mode: Isolation,
    /// Nanoseconds since 1970.
    pub created: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxRow {
    pub id: String,
    /// The user its VMM runs as; nobody else's while the row is there.
    pub uid: Option<u32>,
    pub boot_id: String,
    pub mode: Isolation,
    /// Nanoseconds since 1970.
    pub created: i64,
}

fn sandbox_from(row: &Row<'_>) -> rusqlite::Result<SandboxRow> {
    Ok(SandboxRow {
        id: row.get(0)?,
        uid: row.get(1)?,
        boot_id: row.get(2)?,
        mode: word_column(row, 3)?,
        created: row.get(4)?,
    })
}

const SANDBOX: &str = "SELECT id, uid, boot_id, mode, created FROM sandboxes";

impl Database {
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
}

pub(super) fn insert_sandbox(
    tx: &Connection,
    new: &NewSandbox,
    uids: Option<(u32, u32)>,
) -> Result<SandboxRow, Failure> {
    let uid = uids.map(|(first, count)| free_uid(tx, first, count)).transpose()?;
    tx.prepare_cached("INSERT INTO sandboxes(id, uid, boot_id, mode, created) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![new.id, uid, new.boot_id, new.mode.as_str(), new.created])
        .map_err(|error| match error.sqlite_error_code() {
            // The uid is free, so it is the id.
            Some(ErrorCode::ConstraintViolation) => Failure::Typed(Error::SandboxExists(new.id.clone())),
            _ => error.into(),
        })?;
    let NewSandbox { id, boot_id, mode, created } = new.clone();
    Ok(SandboxRow { id, uid, boot_id, mode, created })
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
