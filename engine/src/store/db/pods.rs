//! Rows of pods: several containers in one sandbox, which has the pod's id while it lives.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::containers::{STARTS_SO, is_start_of_id, the_only, word_column};
use super::events::{self, EventKind};
use super::networks::{delete_endpoints, insert_endpoint};
use super::{Database, Error, Result};
use crate::network::model::EndpointRow;
use crate::sandbox::mode::Isolation;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRow {
    pub id: String,
    pub name: String,
    pub mode: Isolation,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// JSON.
    pub config: String,
}

fn pod_from(row: &Row<'_>) -> rusqlite::Result<PodRow> {
    Ok(PodRow {
        id: row.get(0)?,
        name: row.get(1)?,
        mode: word_column(row, 2)?,
        created: row.get(3)?,
        config: row.get(4)?,
    })
}

const POD: &str = "SELECT id, name, mode, created, config FROM pods";

impl Database {
    pub fn add_pod(&self, row: &PodRow) -> Result<()> {
        self.add_pod_with(row, &[])
    }

    /// Adds a pod with its endpoints.
    pub fn add_pod_with(&self, row: &PodRow, endpoints: &[EndpointRow]) -> Result<()> {
        self.write("add a pod", |tx| {
            tx.prepare_cached("INSERT INTO pods(id, name, mode, created, config) VALUES (?, ?, ?, ?, ?)")?
                .execute(params![row.id, row.name, row.mode.as_str(), row.created, row.config])
                .map_err(|error| match error.sqlite_error_code() {
                    Some(ErrorCode::ConstraintViolation) => Error::PodNameTaken(row.name.clone()).into(),
                    _ => super::Failure::Sql(error),
                })?;
            endpoints.iter().try_for_each(|endpoint| insert_endpoint(tx, endpoint))?;
            Ok(tell(tx, row, "create")?)
        })
    }

    /// Oldest first.
    pub fn pods(&self) -> Result<Vec<PodRow>> {
        self.read("list pods", |db| {
            db.prepare_cached(&format!("{POD} ORDER BY created, id"))?.query_map([], pod_from)?.collect()
        })
    }

    /// The pod of this id, else of this name, else the only one whose id starts so.
    pub fn pod(&self, wanted: &str) -> Result<PodRow> {
        let found = self.read("look up a pod", |db| {
            let exact = db
                .prepare_cached(&format!("{POD} WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1"))?
                .query_row([wanted], pod_from)
                .optional()?;
            match exact {
                Some(row) => Ok(vec![row]),
                None if !is_start_of_id(wanted) => Ok(Vec::new()),
                None => db
                    .prepare_cached(&format!("{POD} WHERE {STARTS_SO} LIMIT 2"))?
                    .query_map([wanted], pod_from)?
                    .collect(),
            }
        })?;
        the_only("pod", wanted, found)
    }

    /// Removes a pod by its whole id, if it is there. Refused while containers are in it.
    pub fn remove_pod(&self, id: &str) -> Result<()> {
        self.write("remove a pod", |tx| {
            let row =
                tx.prepare_cached(&format!("{POD} WHERE id = ?"))?.query_row([id], pod_from).optional()?;
            let Some(row) = row else { return Ok(()) };
            let containers: u32 = tx
                .prepare_cached("SELECT count(*) FROM containers WHERE pod = ?")?
                .query_row([id], |row| row.get(0))?;
            if containers > 0 {
                return Err(Error::PodInUse { name: row.name, containers }.into());
            }
            delete_endpoints(tx, id)?;
            tx.prepare_cached("DELETE FROM pods WHERE id = ?")?.execute([id])?;
            Ok(tell(tx, &row, "destroy")?)
        })
    }
}

fn tell(tx: &Connection, pod: &PodRow, action: &str) -> rusqlite::Result<()> {
    let attributes = [("name".to_owned(), pod.name.clone())].into();
    events::insert(tx, EventKind::Pod, action, &pod.id, &attributes)
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;
