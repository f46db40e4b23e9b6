//! Rows of published ports: there while their sandbox is up.

use rusqlite::params;

use super::networks::{PUBLISHED, published_from};
use super::{Database, Result};
use crate::network::model::{Port, PublishedRow};

impl Database {
    /// Replaces what a sandbox publishes.
    pub fn set_published(&self, owner: &str, rows: &[PublishedRow]) -> Result<()> {
        self.write("record published ports", |tx| {
            tx.prepare_cached("DELETE FROM published WHERE owner = ?")?.execute([owner])?;
            let mut insert = tx.prepare_cached(
                "INSERT OR IGNORE INTO published(owner, protocol, port, address, host_port)
                 VALUES (?, ?, ?, ?, ?)",
            )?;
            for row in rows {
                let (protocol, port) = (row.container.protocol.as_str(), row.container.number);
                insert.execute(params![owner, protocol, port, row.address.to_string(), row.host_port])?;
            }
            Ok(())
        })
    }

    /// Of all sandboxes.
    pub fn published(&self) -> Result<Vec<PublishedRow>> {
        self.read("list published ports", |db| {
            db.prepare_cached(&format!("{PUBLISHED} ORDER BY owner, port, protocol, address, host_port"))?
                .query_map([], published_from)?
                .collect()
        })
    }

    /// Whose a port of the host's is: the addresses it is published at, with containers' or pods' names.
    pub fn publishers(&self, host: Port) -> Result<Vec<(PublishedRow, String)>> {
        self.read("look up a published port", |db| {
            db.prepare_cached(
                "SELECT owner, protocol, port, address, host_port, coalesce(
                     (SELECT name FROM containers WHERE id = owner),
                     (SELECT name FROM pods WHERE id = owner), owner)
                 FROM published WHERE protocol = ? AND host_port = ?",
            )?
            .query_map(params![host.protocol.as_str(), host.number], |row| {
                Ok((published_from(row)?, row.get(5)?))
            })?
            .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn row(owner: &str, port: &str, at: &str) -> PublishedRow {
        let at: std::net::SocketAddr = at.parse().unwrap();
        let container = crate::network::ports::parse::one_port(port).unwrap();
        PublishedRow { owner: owner.to_owned(), container, address: at.ip(), host_port: at.port() }
    }

    #[test]
    fn published_ports_are_replaced_and_their_publisher_is_known_by_name() {
        let fixture = Fixture::new();
        let id = "a".repeat(64);
        fixture.add(&id, "web");
        let rows = [row(&id, "80/tcp", "0.0.0.0:8080"), row(&id, "80/tcp", "[::]:8080")];
        fixture.db().set_published(&id, &[row(&id, "1/udp", "1.2.3.4:5")]).unwrap();
        fixture.db().set_published(&id, &rows).unwrap();
        assert_eq!(fixture.db().published_of(&id).unwrap(), rows);
        assert_eq!(fixture.db().published().unwrap(), rows);
        let found = |port: &str| {
            let port = crate::network::ports::parse::one_port(port).unwrap();
            fixture.db().publishers(port).unwrap()
        };
        assert_eq!(found("8080/tcp"), rows.map(|row| (row, "web".to_owned())));
        assert!(found("8080/udp").is_empty() && found("80/tcp").is_empty());
    }
}
