//! Which addresses a network gets, and whether what a user wants for one can be.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hull_guest::protocol::Prefix;

use super::ipam::{first, last};
use super::model::{NetworkRow, Pool};

/// Bits that a subnet leaves at least, of IPv4 and of IPv6: for the gateway, a sandbox and what is nobody's.
const HOST_BITS: u8 = 2;

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("Subnet {subnet} overlaps with {other} of network {network}; choose another")]
    Overlap { subnet: Prefix, other: Prefix, network: String },
    #[error("Subnet {subnet} overlaps with the host's route to {route}; choose another")]
    Route { subnet: Prefix, route: Prefix },
    #[error("Subnet {0} is too small: it needs room for a gateway and a container, /30 or /126")]
    TooSmall(Prefix),
    #[error(
        "Subnet {0} is not for hosts' own addresses: it is multicast, loopback, link-local or everything"
    )]
    Reserved(Prefix),
    #[error("Gateway {gateway} is no address for a host in subnet {subnet}")]
    Gateway { gateway: IpAddr, subnet: Prefix },
    #[error("Range {range} is not within subnet {subnet}")]
    Range { range: Prefix, subnet: Prefix },
    #[error("Address {address} ({name}) is not within subnet {subnet}")]
    Auxiliary { name: String, address: IpAddr, subnet: Prefix },
    #[error(
        "All of docker's address pools (172.17.0.0/16 to 172.31.0.0/16, 192.168.0.0/20 to 192.168.240.0/20) \
         overlap with networks or with the host's routes; choose a subnet (--subnet)"
    )]
    None,
    #[error("Failed to read /dev/urandom")]
    Random(#[from] io::Error),
}

/// Docker's pools, in its order.
fn usual() -> impl Iterator<Item = Prefix> {
    let wide = (17..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let narrow = (0..=240).step_by(16).map(|third| (Ipv4Addr::new(192, 168, third, 0), 20));
    wide.chain(narrow).map(|(address, length)| Prefix { address: address.into(), length })
}

/// The first of docker's pools that overlaps neither other networks nor `avoid`, the host's routes.
pub fn choose_ipv4(others: &[NetworkRow], avoid: &[Prefix]) -> Result<Pool, PoolError> {
    let free = |subnet: &Prefix| check_overlap(*subnet, others, avoid).is_ok();
    usual().find(free).map(|subnet| Pool::of(subnet, None, false)).ok_or(PoolError::None)
}

/// One of the 2^56 subnets that nobody else is likely to have chosen (RFC 4193, 3.2.2).
pub fn choose_ipv6() -> Result<Pool, PoolError> {
    let mut bytes = [0; 16];
    let [first, random @ .., _, _, _, _, _, _, _, _] = &mut bytes;
    *first = 0xfd;
    std::fs::File::open("/dev/urandom")?.read_exact(random)?;
    Ok(Pool::of(Prefix { address: Ipv6Addr::from(bytes).into(), length: 64 }, None, false))
}

impl Pool {
    /// Of a whole subnet; the gateway is its first address unless another is given.
    pub fn of(subnet: Prefix, gateway: Option<IpAddr>, given: bool) -> Pool {
        let subnet = subnet.network();
        let gateway = gateway.unwrap_or_else(|| super::ipam::address(&subnet, first(&subnet) + 1));
        Pool { subnet, gateway, given, range: None, reserved: Default::default() }
    }

    /// Whether it can be handed out from, by itself.
    pub fn check(&self) -> Result<(), PoolError> {
        let subnet = self.subnet;
        let bits = if subnet.is_ipv4() { 32 } else { 128 };
        if subnet.length > bits - HOST_BITS {
            return Err(PoolError::TooSmall(subnet));
        }
        if subnet.length == 0 || is_reserved(subnet.address) {
            return Err(PoolError::Reserved(subnet));
        }
        let number = super::ipam::number(self.gateway);
        let inner = number > first(&subnet) && (number < last(&subnet) || !subnet.is_ipv4());
        if !subnet.contains(self.gateway) || !inner {
            return Err(PoolError::Gateway { gateway: self.gateway, subnet });
        }
        let outside = |range: &Prefix| range.length < subnet.length || !subnet.contains(range.address);
        if let Some(range) = self.range.filter(outside) {
            return Err(PoolError::Range { range, subnet });
        }
        match self.reserved.iter().find(|(_, address)| !subnet.contains(**address)) {
            Some((name, address)) => {
                Err(PoolError::Auxiliary { name: name.clone(), address: *address, subnet })
            }
            None => Ok(()),
        }
    }
}

fn is_reserved(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_multicast()
                || address.is_link_local()
                || address.is_broadcast()
                || address.octets()[0] == 0
        }
        IpAddr::V6(address) => {
            address.is_multicast() || address.is_unicast_link_local() || address.is_loopback()
        }
    }
}

/// Refuses what other networks have, or the host has a route to.
pub fn check_overlap(subnet: Prefix, others: &[NetworkRow], avoid: &[Prefix]) -> Result<(), PoolError> {
    for network in others {
        let mut pools = network.settings.pools.iter().map(|pool| pool.subnet);
        if let Some(other) = pools.find(|other| other.overlaps(&subnet)) {
            return Err(PoolError::Overlap { subnet, other, network: network.name.clone() });
        }
    }
    // A default route overlaps everything, and tells nothing.
    let route = avoid.iter().find(|route| route.length != 0 && route.overlaps(&subnet));
    route.map_or(Ok(()), |route| Err(PoolError::Route { subnet, route: *route }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::model::{Driver, NetworkSettings};

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn network(pool: Pool) -> NetworkRow {
        let settings = NetworkSettings { pools: vec![pool], ..NetworkSettings::default() };
        NetworkRow { id: "1".into(), name: "other".into(), driver: Driver::Bridge, created: 1, settings }
    }

    #[test]
    fn pools_are_dockers_in_its_order_and_avoid_networks_and_routes() {
        let mut networks: Vec<NetworkRow> = Vec::new();
        let routes = [prefix("0.0.0.0/0"), prefix("172.18.5.0/24"), prefix("172.20.0.0/14")];
        let mut chosen = Vec::new();
        while let Ok(pool) = choose_ipv4(&networks, &routes) {
            chosen.push(pool.subnet.to_string());
            assert!(pool.check().is_ok(), "{pool:?}");
            networks.push(network(pool));
        }
        assert_eq!(chosen[..3], ["172.17.0.0/16", "172.19.0.0/16", "172.24.0.0/16"]);
        assert_eq!(chosen.last().unwrap(), "192.168.240.0/20");
        assert_eq!(chosen.len(), 15 - 5 + 16);
        assert!(matches!(choose_ipv4(&networks, &routes), Err(PoolError::None)));
    }

    #[test]
    fn an_ipv6_subnet_is_random_and_local() {
        let (one, two) = (choose_ipv6().unwrap(), choose_ipv6().unwrap());
        assert_ne!(one.subnet, two.subnet);
        assert!(one.subnet.length == 64 && prefix("fd00::/8").contains(one.subnet.address));
        assert!(one.check().is_ok() && one.gateway.to_string().ends_with("::1"), "{one:?}");
    }

    #[test]
    fn what_cannot_be_a_pool_is_refused_by_what_is_wrong_with_it() {
        let pool = |subnet: &str, gateway: Option<&str>| {
            Pool::of(prefix(subnet), gateway.map(|address| address.parse().unwrap()), true)
        };
        for subnet in ["10.0.0.0/30", "10.0.0.7/24", "fd00::/126"] {
            assert!(pool(subnet, None).check().is_ok(), "{subnet}");
        }
        for subnet in ["10.0.0.0/31", "10.0.0.0/32", "fd00::/127"] {
            assert!(matches!(pool(subnet, None).check(), Err(PoolError::TooSmall(_))), "{subnet}");
        }
        for subnet in ["0.0.0.0/0", "127.0.0.0/8", "224.0.0.0/8", "169.254.1.0/24", "fe80::/64", "ff00::/8"] {
            assert!(matches!(pool(subnet, None).check(), Err(PoolError::Reserved(_))), "{subnet}");
        }
        for gateway in ["10.1.0.1", "10.0.0.0", "10.0.0.255", "fd00::1"] {
            let error = pool("10.0.0.0/24", Some(gateway)).check();
            assert!(matches!(error, Err(PoolError::Gateway { .. })), "{gateway}");
        }
        let ranged = |range: &str| Pool { range: Some(prefix(range)), ..pool("10.0.0.0/24", None) }.check();
        assert!(ranged("10.0.0.128/25").is_ok());
        assert!(matches!(ranged("10.0.0.0/23"), Err(PoolError::Range { .. })));
        assert!(matches!(ranged("10.0.1.0/25"), Err(PoolError::Range { .. })));
    }

    #[test]
    fn overlaps_name_the_other() {
        let others = [network(Pool::of(prefix("10.1.0.0/16"), None, true))];
        let said = |subnet: &str, avoid: &[Prefix]| {
            check_overlap(prefix(subnet), &others, avoid).unwrap_err().to_string()
        };
        let text = "Subnet 10.1.5.0/24 overlaps with 10.1.0.0/16 of network other; choose another";
        assert_eq!(said("10.1.5.0/24", &[]), text);
        let text = "Subnet 10.2.0.0/16 overlaps with the host's route to 10.2.3.0/24; choose another";
        assert_eq!(said("10.2.0.0/16", &[prefix("10.2.3.0/24")]), text);
        assert!(check_overlap(prefix("10.2.0.0/16"), &others, &[prefix("0.0.0.0/0")]).is_ok());
    }
}
