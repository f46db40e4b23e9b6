//! Ports as docker shows them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::network::model::{Networking, Port, Protocol, Publish, PublishedRow};
use crate::store::{self, ContainerRow, Store};

/// Whose endpoints and ports a container has: its own, or its pod's.
pub fn owner(row: &ContainerRow) -> &str {
    row.pod.as_deref().unwrap_or(&row.id)
}

/// What all sandboxes publish, by owner.
pub fn by_owner(store: &Store) -> Result<HashMap<String, Vec<PublishedRow>>, store::Error> {
    let mut all: HashMap<String, Vec<PublishedRow>> = HashMap::new();
    for row in store.db().published()? {
        all.entry(row.owner.clone()).or_default().push(row);
    }
    Ok(all)
}

fn at(row: &PublishedRow) -> SocketAddr {
    SocketAddr::new(row.address, row.host_port)
}

/// By port, then where it is published: what is only exposed comes first.
fn sorted(published: &[PublishedRow], exposed: &[Port]) -> Vec<(Port, Option<SocketAddr>)> {
    let is_published = |port: &Port| published.iter().any(|row| row.container == *port);
    let mut ports: Vec<(Port, Option<SocketAddr>)> =
        exposed.iter().filter(|port| !is_published(port)).map(|port| (*port, None)).collect();
    ports.extend(published.iter().map(|row| (row.container, Some(at(row)))));
    ports.sort_by_key(|(port, at)| (port.number, *at, port.protocol));
    ports
}

/// Ports of one protocol in a row, exposed or published at the same numbers of one address.
struct Group {
    address: Option<std::net::IpAddr>,
    protocol: Protocol,
    first: u16,
    last: u16,
}

impl Group {
    fn shown(&self) -> String {
        let numbers = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        let protocol = self.protocol.as_str();
        match self.address {
            Some(std::net::IpAddr::V6(address)) => format!("[{address}]:{numbers}->{numbers}/{protocol}"),
            Some(address) => format!("{address}:{numbers}->{numbers}/{protocol}"),
            None => format!("{numbers}/{protocol}"),
        }
    }
}

/// The column PORTS: `0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 443/tcp`. Neighbours are one range where
/// they have the same numbers on the host, and are told before those that have others.
pub fn column(published: &[PublishedRow], exposed: &[Port]) -> String {
    let (mut done, mut open, mut others) = (Vec::new(), Vec::<Group>::new(), Vec::new());
    for (port, at) in sorted(published, exposed) {
        if let Some(at) = at
            && at.port() != port.number
        {
            others.push(format!("{at}->{port}"));
            continue;
        }
        let (address, number) = (at.map(|at| at.ip()), port.number);
        let same = |group: &&mut Group| (group.address, group.protocol) == (address, port.protocol);
        match open.iter_mut().find(same) {
            Some(group) if number.checked_sub(1) == Some(group.last) => group.last = number,
            Some(group) => {
                done.push(group.shown());
                (group.first, group.last) = (number, number);
            }
            None => open.push(Group { address, protocol: port.protocol, first: number, last: number }),
        }
    }
    done.extend(open.iter().map(Group::shown));
    done.extend(others);
    done.join(", ")
}

/// The lines of `hull port`: `80/tcp -> 0.0.0.0:8080`; of one port only where it is bound.
pub fn lines(published: &[PublishedRow], only: Option<Port>) -> Vec<String> {
    let mut rows: Vec<&PublishedRow> = published.iter().collect();
    rows.sort_by_key(|row| (row.container, at(row)));
    let rows = rows.into_iter().filter(|row| only.is_none_or(|port| port == row.container));
    match only {
        Some(_) => rows.map(|row| at(row).to_string()).collect(),
        None => rows.map(|row| format!("{} -> {}", row.container, at(row))).collect(),
    }
}

fn binding(address: String, port: String) -> Value {
    json!({"HostIp": address, "HostPort": port})
}

/// NetworkSettings.Ports of `inspect`, while the container is up.
pub fn settings(published: &[PublishedRow], exposed: &[Port]) -> Value {
    let mut ports: BTreeMap<String, Value> = BTreeMap::new();
    for (port, at) in sorted(published, exposed) {
        let bindings = ports.entry(port.to_string()).or_insert(Value::Null);
        let Some(at) = at else { continue };
        let new = binding(at.ip().to_string(), at.port().to_string());
        match bindings {
            Value::Array(bindings) => bindings.push(new),
            other => *other = json!([new]),
        }
    }
    json!(ports)
}

/// HostConfig.PortBindings of `inspect`: what was asked for.
pub fn bindings(networking: &Networking) -> Value {
    let mut ports: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let host = |publish: &Publish| match publish.host {
        None => String::new(),
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
    };
    for publish in &networking.publish {
        let address = publish.address.map(|address| address.to_string()).unwrap_or_default();
        ports.entry(publish.container.to_string()).or_default().push(binding(address, host(publish)));
    }
    json!(ports)
}

/// Config.ExposedPorts of `inspect`; none: docker leaves it out. What is published is exposed, too.
pub fn exposed(networking: &Networking) -> Option<Value> {
    let published = networking.publish.iter().map(|publish| publish.container);
    let ports: BTreeMap<String, Value> = networking
        .expose
        .iter()
        .copied()
        .chain(published)
        .map(|port| (port.to_string(), json!({})))
        .collect();
    (!ports.is_empty()).then(|| json!(ports))
}

#[cfg(test)]
#[path = "show_tests.rs"]
mod tests;
