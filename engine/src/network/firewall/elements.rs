//! What networks and endpoints add to the fixed chains' sets, and how it is taken back.

use std::net::{IpAddr, Ipv6Addr};

use hull_guest::netlink::nft::{self, Batch, Element, Family, Field, FoundElement, Set, Table};
use hull_guest::netlink::{Errno, Socket};
use hull_guest::protocol::{Mac, Prefix};

use super::{
    EndpointRules, Firewall, FirewallError, NetworkRules, PublishedRule, Result, bridge, egress, failed,
    inet, set,
};
use crate::network::model::Protocol;

pub(super) fn add_network(batch: &mut Batch, table: Table, network: &NetworkRules) {
    let name = network.bridge.as_str();
    let mut add = |shape: &Set, elements: Vec<Element>| {
        batch.create_elements(&set(table, shape), elements.into_iter().map(|element| element.comment(name)));
    };
    let bridge = Field::Name(name);
    add(&inet::BRIDGES, vec![Element::new([bridge])]);
    add(&inet::SAME, vec![Element::new([bridge, bridge])]);
    if network.internal {
        add(&inet::INTERNAL, vec![Element::new([bridge])]);
        return;
    }
    for gateway in &network.gateways {
        let gateways = if gateway.is_ipv4() { &inet::GATEWAYS4 } else { &inet::GATEWAYS6 };
        add(gateways, vec![Element::new([bridge, Field::from(*gateway)])]);
    }
    for subnet in &network.subnets {
        let inside = if subnet.address.is_ipv4() { &inet::INSIDE4 } else { &inet::INSIDE6 };
        let (first, last) = edges(*subnet);
        add(inside, vec![Element::new([Field::from(first)]).through([Field::from(last)])]);
    }
}

pub(super) fn names_bridge(socket: &mut Socket, table: &str, bridge: &str) -> Result<bool> {
    let bridges = set(Table::new(Family::Inet, table), &inet::BRIDGES);
    let found = nft::elements(socket, &bridges).map_err(list_failed(&bridges))?;
    Ok(found.iter().any(|element| element.comment.as_deref() == Some(bridge)))
}

pub(super) fn add_endpoint(batch: &mut Batch, inet: Table, bridge: Table, endpoint: &EndpointRules) {
    let name = endpoint.port.as_str();
    let port = Field::Name(name);
    let mut add = |table, shape: &Set, element: Element| {
        batch.create_elements(&set(table, shape), [element.comment(name)]);
    };
    add(bridge, &bridge::PORTS, Element::new([port]));
    add(inet, &inet::PORTS, Element::new([port]));
    add(bridge, &bridge::PORT_MAC, Element::new([port, Field::Mac(endpoint.mac.0)]));
    for address in &endpoint.addresses {
        let addresses = if address.is_ipv4() { &bridge::PORT_IP4 } else { &bridge::PORT_IP6 };
        add(bridge, addresses, Element::new([port, Field::from(*address)]));
    }
    if endpoint.addresses.iter().any(IpAddr::is_ipv6) {
        add(bridge, &bridge::PORT_IP6, Element::new([port, Field::V6(link_local(endpoint.mac))]));
    }
    for published in &endpoint.published {
        let (shape, key) = published_key(published);
        add(inet, shape, key);
        if let Some((shape, element)) = translation(published) {
            add(inet, shape, element);
        }
    }
}

fn published_key(rule: &PublishedRule) -> (&'static Set<'static>, Element<'static>) {
    let (protocol, port) = (Field::Byte(number(rule.protocol)), Field::Port(rule.host_port));
    if rule.host.is_unspecified() {
        let any = if rule.host.is_ipv4() { &inet::PUBLISHED4_ANY } else { &inet::PUBLISHED6_ANY };
        return (any, Element::new([protocol, port]));
    }
    let one = if rule.host.is_ipv4() { &inet::PUBLISHED4 } else { &inet::PUBLISHED6 };
    (one, Element::new([Field::from(rule.host), protocol, port]))
}

/// None: only the supervisor can lead from the one family to the other, or away from a loopback address.
fn translation(rule: &PublishedRule) -> Option<(&'static Set<'static>, Element<'static>)> {
    if rule.host.is_ipv4() != rule.container.is_ipv4() || rule.host.is_loopback() {
        return None;
    }
    let (shape, key) = published_key(rule);
    let map = match shape.name {
        name if name == inet::PUBLISHED4.name => &inet::DNAT4,
        name if name == inet::PUBLISHED6.name => &inet::DNAT6,
        name if name == inet::PUBLISHED4_ANY.name => &inet::DNAT4_ANY,
        _ => &inet::DNAT6_ANY,
    };
    Some((map, key.to([Field::from(rule.container), Field::Port(rule.container_port)])))
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// RFC 4291, appendix A.
fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// A prefix's first and last address.
fn edges(prefix: Prefix) -> (IpAddr, IpAddr) {
    match prefix.address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
            let bits = address.to_bits();
            (IpAddr::V4((bits & !host).into()), IpAddr::V4((bits | host).into()))
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
            let bits = address.to_bits();
            (IpAddr::V6((bits & !host).into()), IpAddr::V6((bits | host).into()))
        }
    }
}

impl Firewall {
    /// Deletes the elements of all owners but those that `stays` knows.
    pub(super) fn delete_owned(&mut self, batch: &mut Batch, stays: &impl Fn(&str) -> bool) -> Result<()> {
        for shape in inet::OWNED.into_iter().chain(bridge::OWNED) {
            let table = Table::new(shape.table.family, &self.table);
            let set = set(table, shape);
            let found = match nft::elements(&mut self.socket, &set) {
                Ok(found) => found,
                Err(error) if error.is(Errno::NOENT) => continue,
                Err(error) => return Err(list_failed(&set)(error)),
            };
            delete(batch, &set, found, |element| {
                element.comment.as_deref().is_some_and(|owner| !stays(owner))
            });
        }
        Ok(())
    }

    /// Deletes what the networks and endpoints have, and what others have at the host's ports that are
    /// theirs now: whoever has bound a port is alone with it, and the others are gone.
    pub(super) fn make_way(
        &mut self,
        batch: &mut Batch,
        networks: &[NetworkRules],
        endpoints: &[EndpointRules],
    ) -> Result<()> {
        let ports: Vec<&PublishedRule> = endpoints.iter().flat_map(|endpoint| &endpoint.published).collect();
        let mut owners: Vec<String> = networks.iter().map(|network| network.bridge.clone()).collect();
        owners.extend(endpoints.iter().map(|endpoint| endpoint.port.clone()));
        for shape in inet::OWNED.into_iter().chain(bridge::OWNED) {
            let set = Set { table: Table::new(shape.table.family, &self.table), ..*shape };
            let found = nft::elements(&mut self.socket, &set).map_err(list_failed(&set))?;
            let taken: Vec<Vec<u8>> = ports
                .iter()
                .flat_map(|rule| [Some(published_key(rule)), translation(rule)])
                .flatten()
                .filter(|(of, _)| of.name == shape.name)
                .map(|(_, element)| element.key().to_vec())
                .collect();
            delete(batch, &set, found, |element| {
                taken.contains(&element.key)
                    || element.comment.as_ref().is_some_and(|owner| owners.contains(owner))
            });
        }
        egress::delete(batch, &mut self.socket, &self.table, &|owner| {
            !owners.iter().any(|ours| ours == owner)
        })
    }
}

/// Of a set of ranges the kernel tells where each begins, and as another element where it ends.
fn delete(batch: &mut Batch, set: &Set, mut found: Vec<FoundElement>, goes: impl Fn(&FoundElement) -> bool) {
    if set.interval {
        found.sort_by(|one, other| (&one.key, !one.is_end).cmp(&(&other.key, !other.is_end)));
    }
    let mut doomed = Vec::new();
    for (at, element) in found.iter().enumerate() {
        if element.is_end || !goes(element) {
            continue;
        }
        let doomed_one = Element::of_key(element.key.clone());
        let behind = found.get(at + 1).filter(|next| set.interval && next.is_end);
        doomed.push(match behind {
            Some(behind) => doomed_one.until_key(behind.key.clone()),
            // The last there is ends with the numbers.
            None if set.interval => doomed_one.through_key(vec![0xff; element.key.len()]),
            None => doomed_one,
        });
    }
    batch.delete_elements(set, doomed);
}

fn list_failed(set: &Set) -> impl FnOnce(hull_guest::netlink::NetlinkError) -> FirewallError + use<> {
    let name = set.name.to_owned();
    failed(move || format!("list the nftables set {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_have_edges() {
        for (prefix, first, last) in [
            ("10.1.2.3/8", "10.0.0.0", "10.255.255.255"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("1.2.3.4/32", "1.2.3.4", "1.2.3.4"),
            ("fd00::/127", "fd00::", "fd00::1"),
        ] {
            let (found, end) = edges(prefix.parse().unwrap());
            assert_eq!((found.to_string(), end.to_string()), (first.to_owned(), last.to_owned()));
        }
        assert_eq!(link_local(Mac([2, 0x42, 172, 17, 0, 2])).to_string(), "fe80::42:acff:fe11:2");
    }
}
