//! `network create`: from what a user asked for to a network's row. What it is made of comes up with the
//! first sandbox on it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hull_guest::protocol::Prefix;

use super::catalog::{self, is_predefined};
use super::model::{Driver, NetworkRow, NetworkSettings, Pool};
use super::{NetworkError, pools, routes};
use crate::container::names;
use crate::store::Store;
use crate::time::now_ns;

/// Docker's names of options that a network has a field for.
const MTU: &str = "com.docker.network.driver.mtu";
const PARENT: &str = "parent";
/// Options whose usual value is all that there is.
const FIXED: [(&str, &str, Driver); 4] = [
    ("com.docker.network.bridge.enable_icc", "true", Driver::Bridge),
    ("com.docker.network.bridge.enable_ip_masquerade", "true", Driver::Bridge),
    ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0", Driver::Bridge),
    ("macvlan_mode", "bridge", Driver::Macvlan),
];
/// Bytes that every IPv4 and every IPv6 link carries (RFC 791, 3.2; RFC 8200, 5), and Linux's most.
const MTU_RANGE: (u32, u32, u32) = (68, 1280, 65_535);
const NAME: usize = 128;

/// The words of `hull network create`.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub name: String,
    pub driver: String,
    pub subnets: Vec<String>,
    pub gateways: Vec<String>,
    pub ranges: Vec<String>,
    /// `NAME=ADDRESS`
    pub reserved: Vec<String>,
    pub internal: bool,
    pub ipv6: bool,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
}

/// Adds a network. `avoid`: what the host has routes to.
pub fn create(
    store: &Store,
    asked: Asked,
    avoid: impl FnOnce() -> Vec<Prefix>,
) -> Result<NetworkRow, NetworkError> {
    check_name(&asked.name)?;
    let driver = driver(&asked.driver)?;
    let mut settings = NetworkSettings {
        pools: given_pools(&asked)?,
        ipv6: asked.ipv6,
        internal: asked.internal,
        labels: asked.labels,
        ..NetworkSettings::default()
    };
    options(&mut settings, driver, asked.options)?;
    let avoid = avoid();
    catalog::ensure_defaults(store, || avoid.clone())?;
    let id = names::new_id().map_err(NetworkError::Random)?;
    let made = store.db().add_networks(|others| {
        // The subnet of a macvlan network is one that the host's device is in.
        let avoid = if driver == Driver::Macvlan { &[] } else { avoid.as_slice() };
        complete(&mut settings, others, avoid)?;
        let (name, created) = (asked.name, now_ns());
        Ok::<_, NetworkError>(vec![NetworkRow { id, name, driver, created, settings }])
    })??;
    made.into_iter().next().ok_or(NetworkError::Random(std::io::ErrorKind::NotFound.into()))
}

/// Checks the pools that were given against the others, and chooses those that were not.
fn complete(
    settings: &mut NetworkSettings,
    others: &[NetworkRow],
    avoid: &[Prefix],
) -> Result<(), NetworkError> {
    for pool in &settings.pools {
        pools::check_overlap(pool.subnet, others, avoid)?;
    }
    let has =
        |settings: &NetworkSettings, ipv4| settings.pools.iter().any(|pool| pool.subnet.is_ipv4() == ipv4);
    if !has(settings, true) {
        settings.pools.insert(0, pools::choose_ipv4(others, avoid)?);
    }
    if settings.ipv6 && !has(settings, false) {
        settings.pools.push(pools::choose_ipv6()?);
    }
    Ok(())
}

/// Docker's grammar for containers' names, and single letters.
fn check_name(name: &str) -> Result<(), NetworkError> {
    if is_predefined(name) || name == "default" {
        return Err(NetworkError::Predefined(name.to_owned()));
    }
    let sound = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() <= NAME
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if sound { Ok(()) } else { Err(NetworkError::Name(name.to_owned())) }
}

fn driver(word: &str) -> Result<Driver, NetworkError> {
    match word {
        "none" => Err(NetworkError::OneOnly(Driver::Null)),
        word => match word.parse() {
            Ok(driver @ (Driver::Bridge | Driver::Macvlan)) => Ok(driver),
            Ok(driver) => Err(NetworkError::OneOnly(driver)),
            Err(_) => Err(NetworkError::Driver(word.to_owned())),
        },
    }
}

/// The subnets, each with the gateway, range and reserved addresses that lie in it.
fn given_pools(asked: &Asked) -> Result<Vec<Pool>, NetworkError> {
    let mut pools: Vec<Pool> = Vec::new();
    for word in &asked.subnets {
        let subnet: Prefix = word.parse().map_err(|_| NetworkError::Subnet(word.clone()))?;
        if !subnet.is_ipv4() && !asked.ipv6 {
            return Err(NetworkError::NeedsIpv6(subnet));
        }
        if pools.iter().any(|other| other.subnet.is_ipv4() == subnet.is_ipv4()) {
            return Err(NetworkError::SeveralSubnets);
        }
        pools.push(Pool::of(subnet, None, true));
    }
    if pools.is_empty() && !(asked.gateways.is_empty() && asked.ranges.is_empty()) {
        return Err(NetworkError::NeedsSubnet);
    }
    let mut placed = Vec::new();
    for word in &asked.gateways {
        let pool = pool_of("gateway", word, word.parse().ok(), &mut pools)?;
        if placed.contains(&pool.subnet) {
            return Err(NetworkError::Several { what: "gateways", subnet: pool.subnet });
        }
        placed.push(pool.subnet);
        pool.gateway = word.parse().unwrap_or(pool.gateway);
    }
    for word in &asked.ranges {
        let range: Option<Prefix> = word.parse().ok();
        let pool = pool_of("range", word, range.map(|range| range.address), &mut pools)?;
        if pool.range.is_some() {
            return Err(NetworkError::Several { what: "ranges", subnet: pool.subnet });
        }
        pool.range = range.map(|range| range.network());
    }
    for word in &asked.reserved {
        let (name, address) = word.split_once('=').unwrap_or((word, ""));
        let parsed: Option<IpAddr> = address.parse().ok();
        let pool = pool_of("aux-address", address, parsed, &mut pools)?;
        pool.reserved.extend(parsed.map(|address| (name.to_owned(), address)));
    }
    for pool in &pools {
        pool.check()?;
    }
    Ok(pools)
}

fn pool_of<'a>(
    what: &'static str,
    word: &str,
    address: Option<IpAddr>,
    pools: &'a mut [Pool],
) -> Result<&'a mut Pool, NetworkError> {
    let missing = || NetworkError::NoMatchingSubnet { what, word: word.to_owned() };
    let address = address.ok_or_else(missing)?;
    pools.iter_mut().find(|pool| pool.subnet.contains(address)).ok_or_else(missing)
}

/// What has no effect here is refused by its name.
fn options(
    settings: &mut NetworkSettings,
    driver: Driver,
    options: BTreeMap<String, String>,
) -> Result<(), NetworkError> {
    for (name, value) in &options {
        let refused =
            |why: String| Err(NetworkError::Option { name: name.clone(), value: value.clone(), why });
        match (name.as_str(), driver) {
            (MTU, _) => {
                let (ipv4, ipv6, most) = MTU_RANGE;
                let least = if settings.ipv6 { ipv6 } else { ipv4 };
                match value.parse() {
                    Ok(mtu) if (least..=most).contains(&mtu) => settings.mtu = Some(mtu),
                    _ => return refused(format!("an MTU is a number from {least} to {most}")),
                }
            }
            (PARENT, Driver::Macvlan) if routes::has_device(value) => settings.parent = Some(value.clone()),
            (PARENT, Driver::Macvlan) => return refused("the host has no such device".to_owned()),
            (name, driver) => match FIXED.iter().find(|(known, _, of)| *known == name && *of == driver) {
                Some((_, usual, _)) if value == usual => {}
                Some((_, usual, _)) => return refused(format!("only {usual} is supported")),
                None => return refused(format!("no such option of a {driver} network")),
            },
        }
    }
    settings.options = options;
    if driver == Driver::Macvlan && settings.parent.is_none() {
        return Err(NetworkError::NeedsParent);
    }
    Ok(())
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
