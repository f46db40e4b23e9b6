//! The names that one sandbox can see, and what they mean.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;

use super::wants::Wants;
use crate::network::model::{BRIDGE, EndpointRow, NetworkRow};
use crate::store::db::Neighbour;

/// Addresses of one name in an answer; an alias that more containers have is cut.
const MAX_ADDRESSES: usize = 128;

/// Names are in lower case: DNS knows no other (RFC 4343).
#[derive(Debug, Default)]
pub struct Directory {
    zones: Vec<Zone>,
    /// Whether a network leads outside. Names from there are refused without one: a question is a message,
    /// and an internal network lets none out.
    pub external: bool,
}

/// A network that the sandbox is on.
#[derive(Debug, Default)]
struct Zone {
    name: String,
    /// The sandbox's own names for others.
    links: HashMap<String, Vec<IpAddr>>,
    hosts: HashMap<String, Vec<IpAddr>>,
    names: HashMap<IpAddr, String>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nobody's here.
    Unknown,
    /// Of the family that was asked for; none: the name is there without one.
    Addresses(Vec<IpAddr>),
    /// The full name of who has the address.
    Name(String),
}

impl Directory {
    /// Adds a network the sandbox is on by `own`, with all that have live addresses there. Names of the
    /// default network are known to nobody but who links to them, as docker has it.
    pub fn add(&mut self, network: &NetworkRow, own: &EndpointRow, neighbours: &[Neighbour]) {
        let is_default = network.name == BRIDGE;
        let mut zone = Zone { name: network.name.to_ascii_lowercase(), ..Zone::default() };
        for neighbour in neighbours {
            for link in own.settings.links.iter().filter(|link| link.container == neighbour.id) {
                zone.links.extend_name(&link.alias, neighbour);
                if is_default {
                    neighbour.names().for_each(|name| zone.links.extend_name(name, neighbour));
                }
            }
            if !is_default {
                neighbour.names().for_each(|name| zone.hosts.extend_name(name, neighbour));
                for address in neighbour.addresses() {
                    let name = || format!("{}.{}.", neighbour.name, network.name);
                    zone.names.entry(address).or_insert_with(name);
                }
            }
        }
        self.external |= !network.settings.internal;
        self.zones.push(zone);
    }

    pub fn find(&self, name: &Name, wants: Wants) -> Found {
        let Some(name) = plain(name) else { return Found::Unknown };
        if wants == Wants::Pointer {
            let address = pointed_at(&name);
            let name =
                address.and_then(|address| self.zones.iter().find_map(|zone| zone.names.get(&address)));
            return name.map_or(Found::Unknown, |name| Found::Name(name.clone()));
        }
        // Of several networks the first that has the name with such an address; else it is known without.
        let mut found = Found::Unknown;
        for addresses in self.all_of(&name) {
            let mut addresses: Vec<IpAddr> =
                addresses.iter().copied().filter(|address| wants.takes(*address)).collect();
            addresses.truncate(MAX_ADDRESSES);
            let is_last = !addresses.is_empty();
            found = Found::Addresses(addresses);
            if is_last {
                break;
            }
        }
        found
    }

    /// Own links first, then names, then names with their network's behind them. Both may contain dots.
    fn all_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Vec<IpAddr>> {
        let links = self.zones.iter().filter_map(move |zone| zone.links.get(name));
        let hosts = self.zones.iter().filter_map(move |zone| zone.hosts.get(name));
        let scoped = self.zones.iter().filter_map(move |zone| {
            let name = name.strip_suffix(zone.name.as_str())?.strip_suffix('.')?;
            zone.links.get(name).or_else(|| zone.hosts.get(name))
        });
        links.chain(hosts).chain(scoped)
    }
}

trait ExtendName {
    fn extend_name(&mut self, name: &str, neighbour: &Neighbour);
}

impl ExtendName for HashMap<String, Vec<IpAddr>> {
    fn extend_name(&mut self, name: &str, neighbour: &Neighbour) {
        if name.is_empty() {
            return;
        }
        let known = self.entry(name.to_ascii_lowercase()).or_default();
        for address in neighbour.addresses() {
            if !known.contains(&address) {
                known.push(address);
            }
        }
    }
}

/// The name as text in lower case, where it is one that hull gives: labels of visible ASCII, without dots.
pub fn plain(name: &Name) -> Option<String> {
    let mut text = String::with_capacity(name.len());
    for label in name.iter() {
        if !label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.' && *byte != b'\\') {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    }
    Some(text).filter(|text| !text.is_empty())
}

/// RFC 1035, 3.5 and RFC 3596, 2.5.
fn pointed_at(name: &str) -> Option<IpAddr> {
    if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
        let parts: Vec<&str> = reversed.rsplit('.').collect();
        return parts.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let nibbles = name.strip_suffix(".ip6.arpa")?.rsplit('.');
    let (mut bits, mut count) = (0u128, 0);
    for nibble in nibbles {
        let is_digit = nibble.len() == 1 && count < 32;
        bits = bits << 4 | u128::from_str_radix(nibble, 16).ok().filter(|_| is_digit)?;
        count += 1;
    }
    (count == 32).then(|| IpAddr::V6(Ipv6Addr::from(bits)))
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
