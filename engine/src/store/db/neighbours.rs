//! Who is on a network now, with the names they are known by there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::networks::{json_column, parsed};
use super::{Database, Result};
use crate::network::model::EndpointSettings;

/// A container or pod on a network. Containers of a pod have the pod's addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbour {
    pub id: String,
    pub name: String,
    pub hostname: String,
    pub aliases: Vec<String>,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
}

impl Neighbour {
    /// The first is the one it is called by.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let short_id = self.id.get(..12).unwrap_or_default();
        let own = [self.name.as_str(), short_id, self.hostname.as_str()];
        own.into_iter().chain(self.aliases.iter().map(String::as_str))
    }

    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }
}

/// A value that is another after each change of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    by_others: i64,
    by_us: i64,
}

/// Pods come before their containers: an address is called by the first.
const ON: &str = "
SELECT m.id, m.name, coalesce(json_extract(m.config, '$.hostname'), ''), e.config, e.ipv4, e.ipv6, 0
FROM endpoints e JOIN pods m ON m.id = e.owner
WHERE e.network = ?1 AND e.mac IS NOT NULL
UNION ALL
SELECT m.id, m.name, coalesce(json_extract(m.config, '$.hostname'), ''), e.config, e.ipv4, e.ipv6, 1
FROM endpoints e JOIN containers m ON m.id = e.owner OR m.pod = e.owner
WHERE e.network = ?1 AND e.mac IS NOT NULL
ORDER BY 7, 1";

impl Database {
    /// Everybody with an address on a network.
    pub fn neighbours(&self, network: &str) -> Result<Vec<Neighbour>> {
        self.read("list who is on a network", |db| {
            db.prepare_cached(ON)?
                .query_map([network], |row| {
                    let settings: EndpointSettings = json_column(row, 3)?;
                    let (id, name, hostname) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    let (ipv4, ipv6) = (parsed(row, 4)?, parsed(row, 5)?);
                    Ok(Neighbour { id, name, hostname, aliases: settings.aliases, ipv4, ipv6 })
                })?
                .collect()
        })
    }

    /// What was read before is still so as long as this stays the same. Reads no page.
    pub fn mark(&self) -> Result<Mark> {
        self.read("ask for changes", |db| {
            // Of other connections only, <https://www.sqlite.org/pragma.html#pragma_data_version>.
            let by_others = db.pragma_query_value(None, "data_version", |row| row.get(0))?;
            let by_us = db.prepare_cached("SELECT total_changes()")?.query_row([], |row| row.get(0))?;
            Ok(Mark { by_others, by_us })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use crate::network::model::{Driver, EndpointRow, EndpointSettings, NetworkRow, NetworkSettings};
    use crate::store::PodRow;

    #[test]
    fn all_of_a_live_pod_and_no_sleeping_container_is_on_the_network() {
        let fixture = Fixture::new();
        let db = fixture.db();
        let (created, settings) = (1, NetworkSettings::default());
        let (id, name) = ("n".repeat(64), "front".to_owned());
        db.add_network(&NetworkRow { id: id.clone(), name, driver: Driver::Bridge, created, settings })
            .unwrap();
        let config = r#"{"hostname":"podhost"}"#.to_owned();
        let mode = fixture.add("a", "sleeping").mode;
        db.add_pod(&PodRow { id: "p".to_owned(), name: "shop".to_owned(), mode, created, config }).unwrap();
        let mut member = super::super::fixture::container("b", "web");
        member.pod = Some("p".to_owned());
        db.add_container(&member).unwrap();
        for (number, owner) in ["a", "p"].into_iter().enumerate() {
            let settings =
                EndpointSettings { aliases: vec![format!("as-{owner}")], ..EndpointSettings::default() };
            let (network, owner, live) = (id.clone(), owner.to_owned(), None);
            let endpoint =
                EndpointRow { id: number.to_string(), network, owner, position: 0, settings, live };
            db.add_endpoint(&endpoint, u8::MAX).unwrap();
        }
        assert_eq!(db.neighbours(&id).unwrap(), []);
        let before = db.mark().unwrap();
        assert_eq!(db.mark().unwrap(), before);
        let live = "UPDATE endpoints SET ipv4 = '10.0.0.2', mac = '02:42:0a:00:00:02' WHERE owner = 'p'";
        db.write("make it live", |tx| Ok(tx.execute(live, [])?)).unwrap();
        assert_ne!(db.mark().unwrap(), before);
        let found = db.neighbours(&id).unwrap();
        let names: Vec<Vec<&str>> =
            found.iter().map(|one| one.names().filter(|name| !name.is_empty()).collect()).collect();
        assert_eq!(names[0], ["shop", "podhost", "as-p"]);
        assert_eq!((names[1][0], names[1].last()), ("web", Some(&"as-p")));
        assert!(
            found.iter().all(|one| one.addresses().eq(["10.0.0.2".parse::<std::net::IpAddr>().unwrap()]))
        );
        let before = db.mark().unwrap();
        fixture.another().db().remove_endpoint("1").unwrap();
        assert_ne!(db.mark().unwrap(), before);
        assert_eq!(db.neighbours(&id).unwrap(), []);
    }
}
