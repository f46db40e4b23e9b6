//! What `inspect` tells of networks, and of a sandbox's place on them, in docker's shape.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::Instance;
use super::model::{BRIDGE, EndpointRow, NetworkRow, Networking, Pool};
use super::ports::show;
use crate::store::{self, Store};
use crate::time::rfc3339_nano;

/// A network, with what is up on it.
pub fn network(store: &Store, row: &NetworkRow) -> Result<Value, store::Error> {
    let settings = &row.settings;
    let mut containers = Map::new();
    for endpoint in store.db().endpoints_on(&row.id)? {
        if let Some(shown) = on_network(store, row, &endpoint)? {
            containers.insert(endpoint.owner, shown);
        }
    }
    Ok(json!({
        "Name": row.name,
        "Id": row.id,
        "Created": rfc3339_nano(row.created),
        "Scope": "local",
        "Driver": row.driver.as_str(),
        "EnableIPv6": settings.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": {},
            "Config": settings.pools.iter().map(pool).collect::<Vec<_>>(),
        },
        "Internal": settings.internal,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": false,
        "Containers": containers,
        "Options": options(store, row),
        "Labels": settings.labels,
    }))
}

fn pool(pool: &Pool) -> Value {
    let mut fields = Map::new();
    fields.insert("Subnet".into(), json!(pool.subnet));
    if let Some(range) = &pool.range {
        fields.insert("IPRange".into(), json!(range));
    }
    fields.insert("Gateway".into(), json!(pool.gateway));
    if !pool.reserved.is_empty() {
        fields.insert("AuxiliaryAddresses".into(), json!(pool.reserved));
    }
    Value::Object(fields)
}

/// As given; of the default network docker's, which nobody gave.
fn options(store: &Store, row: &NetworkRow) -> BTreeMap<String, String> {
    let mut options = row.settings.options.clone();
    if row.name == BRIDGE {
        let bridge = Instance::of_root(store.paths().root()).default_bridge();
        for (name, value) in [
            ("default_bridge", "true"),
            ("enable_icc", "true"),
            ("enable_ip_masquerade", "true"),
            ("host_binding_ipv4", "0.0.0.0"),
            ("name", &bridge),
        ] {
            options.insert(format!("com.docker.network.bridge.{name}"), value.to_owned());
        }
    }
    options
}

fn on_network(
    store: &Store,
    network: &NetworkRow,
    endpoint: &EndpointRow,
) -> Result<Option<Value>, store::Error> {
    let Some(live) = &endpoint.live else { return Ok(None) };
    let found = store.db().container(&endpoint.owner).map(|row| row.name);
    let name = found.or_else(|_| store.db().pod(&endpoint.owner).map(|row| row.name)).unwrap_or_default();
    let with_length = |address: Option<IpAddr>| match address {
        Some(address) => format!("{address}/{}", length(network, address)),
        None => String::new(),
    };
    Ok(Some(json!({
        "Name": name,
        "EndpointID": endpoint.id,
        "MacAddress": live.mac.to_string(),
        "IPv4Address": with_length(live.ipv4.map(IpAddr::V4)),
        "IPv6Address": with_length(live.ipv6.map(IpAddr::V6)),
    })))
}

fn pool_of(network: &NetworkRow, ipv4: bool) -> Option<&Pool> {
    network.settings.pools.iter().find(|pool| pool.subnet.is_ipv4() == ipv4)
}

fn length(network: &NetworkRow, address: IpAddr) -> u8 {
    pool_of(network, address.is_ipv4()).map_or(0, |pool| pool.subnet.length)
}

/// A sandbox's place on the network, of which all that it is, is told here and nowhere else.
#[derive(Debug)]
pub struct Sandbox<'a> {
    /// A container's id, or a pod's.
    pub id: &'a str,
    pub networking: &'a Networking,
    pub up: bool,
    /// The network namespace, where the host has one of it.
    pub namespace: Option<String>,
}

impl Sandbox<'_> {
    /// Docker's NetworkSettings.
    pub fn settings(&self, store: &Store) -> Result<Value, store::Error> {
        let mut networks = Map::new();
        let mut default = Value::Null;
        for endpoint in store.db().endpoints_of(self.id)? {
            let network = match store.db().network(&endpoint.network) {
                Err(error) if error.kind() == store::Kind::NotFound => None,
                row => Some(row?),
            };
            let shown = endpoint_settings(store, &endpoint, network.as_ref())?;
            let name = network.map_or(endpoint.settings.network, |network| network.name);
            if name == BRIDGE {
                default = shown.clone();
            }
            networks.insert(name, shown);
        }
        if let Some(name) = self.networking.mode.name() {
            let id = store.db().network(name).map(|row| row.id).unwrap_or_default();
            networks.insert(name.to_owned(), nowhere(&id));
        }
        let ports = match self.up {
            true => show::settings(&store.db().published_of(self.id)?, &self.networking.expose),
            false => json!({}),
        };
        let mut settings = json!({
            "SandboxID": if self.up { self.id } else { "" },
            "SandboxKey": self.namespace.as_deref().unwrap_or_default(),
            "Ports": ports,
        });
        // Those of the default network are told once more.
        for (field, none) in [
            ("EndpointID", json!("")),
            ("Gateway", json!("")),
            ("GlobalIPv6Address", json!("")),
            ("GlobalIPv6PrefixLen", json!(0)),
            ("IPAddress", json!("")),
            ("IPPrefixLen", json!(0)),
            ("IPv6Gateway", json!("")),
            ("MacAddress", json!("")),
        ] {
            settings[field] = default.get(field).cloned().unwrap_or(none);
        }
        settings["Networks"] = Value::Object(networks);
        Ok(settings)
    }
}

fn endpoint_settings(
    store: &Store,
    endpoint: &EndpointRow,
    network: Option<&NetworkRow>,
) -> Result<Value, store::Error> {
    let wishes = &endpoint.settings;
    let live = endpoint.live.as_ref();
    let mut config = Map::new();
    config.extend(wishes.ipv4.map(|address| ("IPv4Address".to_owned(), json!(address))));
    config.extend(wishes.ipv6.map(|address| ("IPv6Address".to_owned(), json!(address))));
    let mut aliases = wishes.aliases.clone();
    let user_network = network.is_some_and(|network| !super::catalog::is_predefined(&network.name));
    if user_network {
        aliases.extend(endpoint.owner.get(..12).map(ToOwned::to_owned));
    }
    let mut links = Vec::new();
    for link in wishes.links.iter().filter(|_| user_network) {
        let name = store.db().container(&link.container).map_or(link.container.clone(), |row| row.name);
        links.push(format!("{name}:{}", link.alias));
    }
    let gateway = |ipv4: bool| {
        let pool = network.and_then(|network| pool_of(network, ipv4)).filter(|_| live.is_some());
        let inside = network.is_some_and(|network| network.settings.internal);
        pool.filter(|_| !inside).map(|pool| pool.gateway.to_string()).unwrap_or_default()
    };
    let address = |address: Option<IpAddr>| match (address, network) {
        (Some(address), Some(network)) => (address.to_string(), length(network, address)),
        _ => (String::new(), 0),
    };
    let ipv4 = address(live.and_then(|live| live.ipv4).map(IpAddr::V4));
    let ipv6 = address(live.and_then(|live| live.ipv6).map(IpAddr::V6));
    Ok(json!({
        "IPAMConfig": if config.is_empty() { Value::Null } else { Value::Object(config) },
        "Links": or_null(links),
        "Aliases": or_null(aliases),
        "NetworkID": endpoint.network,
        "EndpointID": if live.is_some() { endpoint.id.as_str() } else { "" },
        "Gateway": gateway(true),
        "IPAddress": ipv4.0,
        "IPPrefixLen": ipv4.1,
        "IPv6Gateway": gateway(false),
        "GlobalIPv6Address": ipv6.0,
        "GlobalIPv6PrefixLen": ipv6.1,
        "MacAddress": live.map(|live| live.mac).or(wishes.mac).map(|mac| mac.to_string()).unwrap_or_default(),
        "DriverOpts": driver_options(endpoint),
    }))
}

fn driver_options(endpoint: &EndpointRow) -> Value {
    let rates = &endpoint.settings.rates;
    let all = [
        ("rx-bps", rates.rx_bps),
        ("tx-bps", rates.tx_bps),
        ("rx-pps", rates.rx_pps),
        ("tx-pps", rates.tx_pps),
    ];
    let given: BTreeMap<&str, String> =
        all.into_iter().filter_map(|(name, rate)| Some((name, rate?.to_string()))).collect();
    if given.is_empty() { Value::Null } else { json!(given) }
}

/// On "none" and "host" there is nothing to tell.
fn nowhere(network: &str) -> Value {
    json!({
        "IPAMConfig": null, "Links": null, "Aliases": null, "NetworkID": network, "EndpointID": "",
        "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0, "MacAddress": "", "DriverOpts": null,
    })
}

fn or_null(list: Vec<String>) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

/// What a container's HostConfig says of the network, but for whose it joins.
pub fn host_config(
    store: &Store,
    id: &str,
    networking: &Networking,
) -> Result<Map<String, Value>, store::Error> {
    let endpoints = store.db().endpoints_of(id)?;
    let first = endpoints.first();
    let mode = networking
        .mode
        .name()
        .map(ToOwned::to_owned)
        .or_else(|| first.map(|endpoint| endpoint.settings.network.clone()))
        .unwrap_or_else(|| "default".to_owned());
    let mut links = Vec::new();
    for link in first.filter(|first| first.settings.network == BRIDGE).iter().flat_map(|e| &e.settings.links)
    {
        let name = |id: &str| store.db().container(id).map_or_else(|_| id.to_owned(), |row| row.name);
        links.push(format!("/{}:/{}/{}", name(&link.container), name(id), link.alias));
    }
    let hosts: Vec<String> =
        networking.hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect();
    let fields = json!({
        "NetworkMode": mode,
        "PortBindings": show::bindings(networking),
        "PublishAllPorts": networking.publish_all,
        "Dns": networking.dns.servers,
        "DnsOptions": networking.dns.options,
        "DnsSearch": networking.dns.search,
        "ExtraHosts": or_null(hosts),
        "Links": or_null(links),
    });
    Ok(match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    })
}

/// Whether sandboxes have addresses of IPv4 on it.
pub fn has_ipv4(row: &NetworkRow) -> bool {
    pool_of(row, true).is_some()
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
