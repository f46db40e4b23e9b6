//! Rows of networks, of sandboxes' endpoints on them, and of published ports.

use std::net::IpAddr;

use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use super::containers::{STARTS_SO, is_start_of_id, the_only, word_column};
use super::{Database, Error, Failure, Result};
use crate::network::model::{EndpointRow, Live, NetworkRow, Port, PublishedRow};

const NETWORK: &str = "SELECT id, name, driver, created, config FROM networks";
const ENDPOINT: &str = "SELECT id, network, owner, position, config, ipv4, ipv6, mac FROM endpoints";
pub(super) const PUBLISHED: &str = "SELECT owner, protocol, port, address, host_port FROM published";

pub(super) fn json_column<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into()))
}

fn to_json(value: &impl serde::Serialize) -> String {
    // Strings, numbers and maps with string keys: nothing JSON refuses.
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    index: usize,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(index)?;
    text.map(|text| text.parse())
        .transpose()
        .map_err(|error: T::Err| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into()))
}

fn network_from(row: &Row<'_>) -> rusqlite::Result<NetworkRow> {
    Ok(NetworkRow {
        id: row.get(0)?,
        name: row.get(1)?,
        driver: word_column(row, 2)?,
        created: row.get(3)?,
        settings: json_column(row, 4)?,
    })
}

fn endpoint_from(row: &Row<'_>) -> rusqlite::Result<EndpointRow> {
    let mac = parsed(row, 7)?;
    let (ipv4, ipv6) = (parsed(row, 5)?, parsed(row, 6)?);
    Ok(EndpointRow {
        id: row.get(0)?,
        network: row.get(1)?,
        owner: row.get(2)?,
        position: row.get(3)?,
        settings: json_column(row, 4)?,
        live: mac.map(|mac| Live { ipv4, ipv6, mac }),
    })
}

pub(super) fn published_from(row: &Row<'_>) -> rusqlite::Result<PublishedRow> {
    let address: Option<IpAddr> = parsed(row, 3)?;
    Ok(PublishedRow {
        owner: row.get(0)?,
        container: Port { protocol: word_column(row, 1)?, number: row.get(2)? },
        address: address.ok_or_else(|| super::containers::malformed("an address".to_owned()))?,
        host_port: row.get(4)?,
    })
}

impl Database {
    pub fn add_network(&self, row: &NetworkRow) -> Result<()> {
        self.write("add a network", |tx| insert_network(tx, row))
    }

    /// Oldest first.
    pub fn networks(&self) -> Result<Vec<NetworkRow>> {
        self.read("list networks", |db| {
            db.prepare_cached(&format!("{NETWORK} ORDER BY created, id"))?
                .query_map([], network_from)?
                .collect()
        })
    }

    /// The network of this id, else of this name, else the only one whose id starts so.
    pub fn network(&self, wanted: &str) -> Result<NetworkRow> {
        let found = self.read("look up a network", |db| {
            let exact = db
                .prepare_cached(&format!(
                    "{NETWORK} WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1"
                ))?
                .query_row([wanted], network_from)
                .optional()?;
            match exact {
                Some(row) => Ok(vec![row]),
                None if !is_start_of_id(wanted) => Ok(Vec::new()),
                None => db
                    .prepare_cached(&format!("{NETWORK} WHERE {STARTS_SO} LIMIT 2"))?
                    .query_map([wanted], network_from)?
                    .collect(),
            }
        })?;
        the_only("network", wanted, found)
    }

    /// Of one sandbox, by position.
    pub fn endpoints_of(&self, owner: &str) -> Result<Vec<EndpointRow>> {
        self.list_endpoints("owner = ? ORDER BY position", owner)
    }

    /// Of all sandboxes on one network.
    pub fn endpoints_on(&self, network: &str) -> Result<Vec<EndpointRow>> {
        self.list_endpoints("network = ? ORDER BY id", network)
    }

    fn list_endpoints(&self, condition: &str, value: &str) -> Result<Vec<EndpointRow>> {
        self.read("list endpoints", |db| {
            db.prepare_cached(&format!("{ENDPOINT} WHERE {condition}"))?
                .query_map([value], endpoint_from)?
                .collect()
        })
    }

    pub fn add_endpoint(&self, row: &EndpointRow) -> Result<()> {
        self.write("add an endpoint", |tx| insert_endpoint(tx, row))
    }

    pub fn remove_endpoint(&self, id: &str) -> Result<()> {
        self.write("remove an endpoint", |tx| {
            tx.prepare_cached("DELETE FROM endpoints WHERE id = ?")?.execute([id])?;
            Ok(())
        })
    }

    /// Of one sandbox.
    pub fn published_of(&self, owner: &str) -> Result<Vec<PublishedRow>> {
        self.read("list published ports", |db| {
            db.prepare_cached(&format!(
                "{PUBLISHED} WHERE owner = ? ORDER BY port, protocol, address, host_port"
            ))?
            .query_map([owner], published_from)?
            .collect()
        })
    }
}

pub(super) fn insert_network(tx: &Connection, row: &NetworkRow) -> Result<(), Failure> {
    tx.prepare_cached("INSERT INTO networks(id, name, driver, created, config) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![row.id, row.name, row.driver.as_str(), row.created, to_json(&row.settings)])
        .map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Error::NetworkNameTaken(row.name.clone()).into(),
            _ => Failure::Sql(error),
        })?;
    Ok(())
}

pub(super) fn insert_endpoint(tx: &Connection, row: &EndpointRow) -> Result<(), Failure> {
    tx.prepare_cached("INSERT INTO endpoints(id, network, owner, position, config) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![row.id, row.network, row.owner, row.position, to_json(&row.settings)])?;
    Ok(())
}
