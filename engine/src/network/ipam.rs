//! Addresses of endpoints. Chosen when a sandbox comes up and given back when it ends, each in one
//! transaction: an address has one owner at a time, whoever asks at once.
//!
//! As docker's: the lowest address that is free, at once after it was given back.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hull_guest::protocol::{Mac, Prefix};

use super::model::{EndpointRow, EndpointSettings, Live, NetworkRow, Pool};
use crate::store::db::networks::Claim;
use crate::store::{self, Store};

/// What docker's MAC addresses begin with: locally administered, nobody's.
const MAC_START: [u8; 2] = [0x02, 0x42];

#[derive(Debug, thiserror::Error)]
pub enum IpamError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("Network {network} has no free address left in {pool}")]
    Full { network: String, pool: Prefix },
    #[error("Address {address} is in use on network {network}")]
    InUse { address: IpAddr, network: String },
    #[error("Address {mac} is in use on network {network}")]
    MacInUse { mac: Mac, network: String },
    #[error("Address {address} belongs to none of network {network}'s subnets")]
    Outside { address: IpAddr, network: String },
    #[error("Failed to read /dev/urandom")]
    Random(#[from] io::Error),
}

/// Gives all endpoints of a sandbox their addresses, by position. One that has some keeps them.
pub fn allocate(store: &Store, owner: &str) -> Result<Vec<(EndpointRow, NetworkRow)>, IpamError> {
    let chosen = |claim: &Claim| choose(&claim.network, &claim.endpoint.settings, &claim.others);
    store.db().claim_addresses(owner, |claims| claims.iter().map(chosen).collect())?
}

/// Takes back what a sandbox's endpoints have, and forgets its published ports.
pub fn release(store: &Store, owner: &str) -> Result<(), store::Error> {
    store.db().release_addresses(owner, None)
}

/// The same of one endpoint, by its id; published ports stay.
pub fn release_endpoint(store: &Store, owner: &str, endpoint: &str) -> Result<(), store::Error> {
    store.db().release_addresses(owner, Some(endpoint))
}

/// What an endpoint gets on a network where others have theirs.
pub fn choose(network: &NetworkRow, wishes: &EndpointSettings, others: &[Live]) -> Result<Live, IpamError> {
    let pool = |ipv4| network.settings.pools.iter().find(|pool| pool.subnet.is_ipv4() == ipv4);
    let taken = |ipv4| {
        others
            .iter()
            .flat_map(Live::addresses)
            .filter(|address| address.is_ipv4() == ipv4)
            .map(number)
            .collect::<BTreeSet<_>>()
    };
    let one = |ipv4, wish: Option<IpAddr>| match (pool(ipv4), wish) {
        (None, None) => Ok(None),
        (None, Some(address)) => Err(IpamError::Outside { address, network: network.name.clone() }),
        (Some(pool), wish) => from_pool(&network.name, pool, wish, taken(ipv4)).map(Some),
    };
    let ipv4 = match one(true, wishes.ipv4.map(IpAddr::V4))? {
        Some(IpAddr::V4(address)) => Some(address),
        _ => None,
    };
    let ipv6 = match one(false, wishes.ipv6.map(IpAddr::V6))? {
        Some(IpAddr::V6(address)) => Some(address),
        _ => None,
    };
    let mac = wishes.mac.map_or_else(|| mac_of(ipv4), Ok)?;
    if others.iter().any(|live| live.mac == mac) {
        return Err(IpamError::MacInUse { mac, network: network.name.clone() });
    }
    Ok(Live { ipv4, ipv6, mac })
}

/// Docker's: of the IPv4 address, which is unique on the network; else random.
fn mac_of(ipv4: Option<Ipv4Addr>) -> Result<Mac, io::Error> {
    let mut end = ipv4.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
    if ipv4.is_none() {
        std::fs::File::open("/dev/urandom")?.read_exact(&mut end)?;
    }
    let ([a, b], [c, d, e, f]) = (MAC_START, end);
    Ok(Mac([a, b, c, d, e, f]))
}

fn from_pool(
    network: &str,
    pool: &Pool,
    wish: Option<IpAddr>,
    mut taken: BTreeSet<u128>,
) -> Result<IpAddr, IpamError> {
    let subnet = &pool.subnet;
    taken.extend(pool.reserved.values().chain([&pool.gateway]).map(|address| number(*address)));
    // The network's own address; of IPv6 that of all its routers (RFC 4291, 2.6.1).
    taken.insert(first(subnet));
    if subnet.is_ipv4() {
        taken.insert(last(subnet));
    }
    if let Some(address) = wish {
        let network = || network.to_owned();
        return match (subnet.contains(address), taken.contains(&number(address))) {
            (false, _) => Err(IpamError::Outside { address, network: network() }),
            (true, true) => Err(IpamError::InUse { address, network: network() }),
            (true, false) => Ok(address),
        };
    }
    let range = pool.range.as_ref().unwrap_or(subnet);
    match lowest_free(first(range), last(range), &taken) {
        Some(free) => Ok(address(subnet, free)),
        None => Err(IpamError::Full { network: network.to_owned(), pool: *range }),
    }
}

fn lowest_free(first: u128, last: u128, taken: &BTreeSet<u128>) -> Option<u128> {
    let mut free = first;
    for used in taken.range(first..=last) {
        if *used != free {
            break;
        }
        free = free.checked_add(1)?;
    }
    (free <= last).then_some(free)
}

/// An address as a number, within its family.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Of a subnet's family.
pub(super) fn address(subnet: &Prefix, number: u128) -> IpAddr {
    match subnet.address {
        IpAddr::V4(_) => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from(number).into(),
    }
}

pub(super) fn first(subnet: &Prefix) -> u128 {
    number(subnet.network().address)
}

pub(super) fn last(subnet: &Prefix) -> u128 {
    let bits: u32 = if subnet.is_ipv4() { 32 } else { 128 };
    let hosts = 1_u128.checked_shl(bits.saturating_sub(subnet.length.into()));
    first(subnet).saturating_add(hosts.map_or(u128::MAX, |hosts| hosts - 1))
}

#[cfg(test)]
#[path = "ipam_tests.rs"]
mod tests;
