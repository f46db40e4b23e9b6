//! Rows of networks, of sandboxes' endpoints on them, and of published ports.

use std::net::IpAddr;

use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use super::containers::{STARTS_SO, is_start_of_id, the_only, word_column};
use super::events::{self, EventKind};
use super::{Database, Error, Failure, Result};
use crate::network::model::{BRIDGE, EndpointRow, HOST, Live, NONE, NetworkRow, Port, PublishedRow};

const NETWORK: &str = "SELECT id, name, driver, created, config FROM networks";
const ENDPOINT: &str = "SELECT id, network, owner, position, config, ipv4, ipv6, mac FROM endpoints";
pub(super) const PUBLISHED: &str = "SELECT owner, protocol, port, address, host_port FROM published";

pub(super) fn json_column<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into()))
}

pub(super) fn to_json(value: &impl serde::Serialize) -> String {
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

/// Endpoints that are up beside one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Others {
    pub on_its_network: bool,
    pub anywhere: bool,
}

impl Database {
    /// Adds what `make` makes of the networks that there are, in one transaction; its own error adds nothing.
    pub fn add_networks<E>(
        &self,
        make: impl FnOnce(&[NetworkRow]) -> Result<Vec<NetworkRow>, E>,
    ) -> Result<Result<Vec<NetworkRow>, E>> {
        self.write("add a network", |tx| {
            let made = make(&all_networks(tx)?);
            for row in made.iter().flatten() {
                insert_network(tx, row)?;
                // Those that are always there are nobody's doing.
                if ![BRIDGE, HOST, NONE].contains(&row.name.as_str()) {
                    tell(tx, row, "create", None)?;
                }
            }
            Ok(made)
        })
    }

    /// One more, whatever there is.
    #[cfg(test)]
    pub fn add_network(&self, row: &NetworkRow) -> Result<()> {
        self.add_networks(|_| Ok::<_, ()>(vec![row.clone()])).map(drop)
    }

    /// Removes a network by its whole id, unless what is up has endpoints on it. Endpoints of what is not up
    /// stay, as docker's, and fail when that is started.
    pub fn remove_network(&self, id: &str) -> Result<()> {
        self.write("remove a network", |tx| {
            let row = network_with_id(tx, id, id)?;
            let endpoints: u32 = tx
                .prepare_cached("SELECT count(*) FROM endpoints WHERE network = ? AND mac IS NOT NULL")?
                .query_row([id], |row| row.get(0))?;
            if endpoints > 0 {
                return Err(Error::NetworkInUse { name: row.name, endpoints }.into());
            }
            tx.prepare_cached("DELETE FROM networks WHERE id = ?")?.execute([id])?;
            Ok(tell(tx, &row, "destroy", None)?)
        })
    }

    /// Oldest first.
    pub fn networks(&self) -> Result<Vec<NetworkRow>> {
        self.read("list networks", all_networks)
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

    /// The network that an endpoint is on. One that is gone is called as it was.
    pub fn network_of(&self, endpoint: &EndpointRow) -> Result<NetworkRow> {
        self.network(&endpoint.network).map_err(|error| match error {
            Error::NotFound { what, .. } if !endpoint.settings.network.is_empty() => {
                Error::NotFound { what, name: endpoint.settings.network.clone() }
            }
            other => other,
        })
    }

    /// Of one sandbox, by position.
    pub fn endpoints_of(&self, owner: &str) -> Result<Vec<EndpointRow>> {
        self.list_endpoints("owner = ? ORDER BY position", owner)
    }

    /// Of all sandboxes on one network.
    pub fn endpoints_on(&self, network: &str) -> Result<Vec<EndpointRow>> {
        self.list_endpoints("network = ? ORDER BY id", network)
    }

    /// Of all sandboxes that are up.
    pub fn live_endpoints(&self) -> Result<Vec<EndpointRow>> {
        self.read("list endpoints", |db| {
            db.prepare_cached(&format!("{ENDPOINT} WHERE mac IS NOT NULL ORDER BY owner, position"))?
                .query_map([], endpoint_from)?
                .collect()
        })
    }

    /// Which others than this one are up.
    pub fn live_beside(&self, row: &EndpointRow) -> Result<Others> {
        const OTHER: &str = "SELECT 1 FROM endpoints WHERE mac IS NOT NULL AND id <> ?1";
        self.read("look for other endpoints", |db| {
            let anywhere = db.prepare_cached(&format!("{OTHER} LIMIT 1"))?.exists([&row.id])?;
            let there = format!("{OTHER} AND network = ?2 LIMIT 1");
            let on_its_network = db.prepare_cached(&there)?.exists([&row.id, &row.network])?;
            Ok(Others { on_its_network, anywhere })
        })
    }

    /// Whose endpoints are up though their sandbox is not.
    pub fn stranded(&self) -> Result<Vec<String>> {
        self.read("look for stranded endpoints", |db| {
            db.prepare_cached(
                "SELECT DISTINCT owner FROM endpoints WHERE mac IS NOT NULL AND owner NOT IN (SELECT id FROM sandboxes)",
            )?
            .query_map([], |row| row.get(0))?
            .collect()
        })
    }

    fn list_endpoints(&self, condition: &str, value: &str) -> Result<Vec<EndpointRow>> {
        self.read("list endpoints", |db| select_endpoints(db, condition, value))
    }

    /// Adds an endpoint, at the first of its owner's positions that is free, and below `positions`.
    pub fn add_endpoint(&self, row: &EndpointRow, positions: u8) -> Result<EndpointRow> {
        self.write("add an endpoint", |tx| {
            let used: Vec<EndpointRow> = select_endpoints(tx, "owner = ? ORDER BY position", &row.owner)?;
            let network = network_of(tx, row)?;
            if used.iter().any(|other| other.network == row.network) {
                return Err(Error::EndpointExists { owner: row.owner.clone(), network: network.name }.into());
            }
            let free = (0..positions).find(|position| used.iter().all(|other| other.position != *position));
            let position = free.ok_or(Error::NoFreeEndpoint { owner: row.owner.clone(), positions })?;
            let row = EndpointRow { position, ..row.clone() };
            insert_endpoint(tx, &row)?;
            Ok(row)
        })
    }

    pub fn remove_endpoint(&self, id: &str) -> Result<()> {
        self.write("remove an endpoint", |tx| {
            for row in select_endpoints(tx, "id = ?", id)? {
                withdraw(tx, &row)?;
            }
            tx.prepare_cached("DELETE FROM endpoints WHERE id = ?")?.execute([id])?;
            Ok(())
        })
    }

    /// Gives those of an owner's endpoints what `choose` says that have nothing yet, by position and in one
    /// transaction; its own error leaves all as it was. All of the owner's are returned.
    pub fn claim_addresses<E>(
        &self,
        owner: &str,
        choose: impl FnOnce(&[Claim]) -> Result<Vec<Live>, E>,
    ) -> Result<Result<Vec<(EndpointRow, NetworkRow)>, E>> {
        self.write("give endpoints addresses", |tx| {
            let (mut all, mut claims) = (Vec::new(), Vec::new());
            for endpoint in select_endpoints(tx, "owner = ? ORDER BY position", owner)? {
                let network = network_of(tx, &endpoint)?;
                if endpoint.live.is_none() {
                    let others = select_endpoints(tx, "network = ? AND mac IS NOT NULL", &network.id)?;
                    let others = others.into_iter().filter_map(|other| other.live).collect();
                    claims.push(Claim { endpoint: endpoint.clone(), network: network.clone(), others });
                }
                all.push((endpoint, network));
            }
            let chosen = match choose(&claims) {
                Ok(chosen) => chosen,
                Err(error) => return Ok(Err(error)),
            };
            let new = all.iter_mut().filter(|(endpoint, _)| endpoint.live.is_none());
            for ((endpoint, network), live) in new.zip(chosen) {
                let (ipv4, ipv6) = (live.ipv4.map(|a| a.to_string()), live.ipv6.map(|a| a.to_string()));
                tx.prepare_cached("UPDATE endpoints SET ipv4 = ?, ipv6 = ?, mac = ? WHERE id = ?")?
                    .execute(params![ipv4, ipv6, live.mac.to_string(), endpoint.id])?;
                endpoint.live = Some(live);
                tell(tx, network, "connect", Some(owner))?;
            }
            Ok(Ok(all))
        })
    }

    /// Takes back what an owner's endpoints have, or one of them has. With the last go the published ports.
    pub fn release_addresses(&self, owner: &str, endpoint: Option<&str>) -> Result<()> {
        self.write("take back addresses", |tx| {
            for row in select_endpoints(tx, "owner = ? ORDER BY position", owner)? {
                if endpoint.is_none_or(|only| only == row.id) {
                    withdraw(tx, &row)?;
                }
            }
            if endpoint.is_none() {
                forget_published(tx, owner)?;
            }
            Ok(())
        })
    }

    /// Of all sandboxes, by owner and position.
    pub fn endpoints(&self) -> Result<Vec<EndpointRow>> {
        self.read("list endpoints", |db| {
            db.prepare_cached(&format!("{ENDPOINT} ORDER BY owner, position"))?
                .query_map([], endpoint_from)?
                .collect()
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

/// An endpoint that has no addresses yet, its network, and what others have on that.
#[derive(Debug)]
pub struct Claim {
    pub endpoint: EndpointRow,
    pub network: NetworkRow,
    pub others: Vec<Live>,
}

fn all_networks(db: &Connection) -> rusqlite::Result<Vec<NetworkRow>> {
    db.prepare_cached(&format!("{NETWORK} ORDER BY created, id"))?.query_map([], network_from)?.collect()
}

fn select_endpoints(db: &Connection, condition: &str, value: &str) -> rusqlite::Result<Vec<EndpointRow>> {
    db.prepare_cached(&format!("{ENDPOINT} WHERE {condition}"))?.query_map([value], endpoint_from)?.collect()
}

/// By its whole id, and what it is called in an error.
fn network_with_id(db: &Connection, id: &str, name: &str) -> Result<NetworkRow, Failure> {
    let found =
        db.prepare_cached(&format!("{NETWORK} WHERE id = ?"))?.query_row([id], network_from).optional()?;
    found.ok_or_else(|| Error::NotFound { what: "network", name: name.to_owned() }.into())
}

fn network_of(db: &Connection, endpoint: &EndpointRow) -> Result<NetworkRow, Failure> {
    let name = &endpoint.settings.network;
    network_with_id(db, &endpoint.network, if name.is_empty() { &endpoint.network } else { name })
}

/// Takes back what an endpoint has, and tells of it.
fn withdraw(tx: &Connection, row: &EndpointRow) -> Result<(), Failure> {
    if row.live.is_none() {
        return Ok(());
    }
    tx.prepare_cached("UPDATE endpoints SET ipv4 = NULL, ipv6 = NULL, mac = NULL WHERE id = ?")?
        .execute([&row.id])?;
    Ok(tell(tx, &network_of(tx, row)?, "disconnect", Some(&row.owner))?)
}

fn forget_published(tx: &Connection, owner: &str) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM published WHERE owner = ?")?.execute([owner])?;
    Ok(())
}

/// All of an owner that is removed.
pub(super) fn delete_endpoints(tx: &Connection, owner: &str) -> Result<(), Failure> {
    for row in select_endpoints(tx, "owner = ? ORDER BY position", owner)? {
        withdraw(tx, &row)?;
    }
    tx.prepare_cached("DELETE FROM endpoints WHERE owner = ?")?.execute([owner])?;
    Ok(forget_published(tx, owner)?)
}

/// Docker's attributes. A pod is no container to docker, but is told of by that name, too.
fn tell(tx: &Connection, row: &NetworkRow, action: &str, owner: Option<&str>) -> rusqlite::Result<()> {
    let mut attributes = events::Attributes::from([
        ("name".into(), row.name.clone()),
        ("type".into(), row.driver.to_string()),
    ]);
    if let Some(owner) = owner {
        attributes.insert("container".into(), owner.to_owned());
    }
    events::insert(tx, EventKind::Network, action, &row.id, &attributes)
}

fn insert_network(tx: &Connection, row: &NetworkRow) -> Result<(), Failure> {
    tx.prepare_cached("INSERT INTO networks(id, name, driver, created, config) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![row.id, row.name, row.driver.as_str(), row.created, to_json(&row.settings)])
        .map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Error::NetworkNameTaken(row.name.clone()).into(),
            _ => Failure::Sql(error),
        })?;
    Ok(())
}

/// On a network that is there.
pub(super) fn insert_endpoint(tx: &Connection, row: &EndpointRow) -> Result<(), Failure> {
    network_of(tx, row)?;
    tx.prepare_cached("INSERT INTO endpoints(id, network, owner, position, config) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![row.id, row.network, row.owner, row.position, to_json(&row.settings)])?;
    Ok(())
}

#[cfg(test)]
#[path = "networks_tests.rs"]
mod tests;
