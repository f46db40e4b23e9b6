//! What a sandbox's network may be asked to be.

use crate::container::spec::Place;
use crate::protocol::{CallError, ErrorKind, Interface, NetworkConfig, NetworkNamespace, Route};

const MAX_INTERFACES: usize = 16;
const MAX_ADDRESSES: usize = 64;
const MAX_ROUTES: usize = 64;
/// IFNAMSIZ without the NUL, netdevice(7).
const MAX_NAME: usize = 15;
/// The least that IPv4 and IPv6 are carried by (RFC 791, RFC 8200), and the most that the kernel takes.
const MTU_IPV4: u32 = 68;
const MTU_IPV6: u32 = 1280;
const MAX_MTU: u32 = 65_535;

pub fn check(config: &NetworkConfig, place: Place, handed: bool) -> Result<(), CallError> {
    match (config.namespace, place) {
        (NetworkNamespace::Handed | NetworkNamespace::Host, Place::Guest) => {
            return refuse("namespace: a guest makes its own");
        }
        (NetworkNamespace::Handed, Place::Host) if !handed => {
            return refuse("namespace: none was handed over at the start (--net-fd)");
        }
        (NetworkNamespace::Host, Place::Host) if config.dns || !config.interfaces.is_empty() => {
            return refuse("interfaces, dns: the host's network is not for hull to change");
        }
        _ => (),
    }
    if config.interfaces.len() > MAX_INTERFACES {
        return refuse(format_args!("interfaces: more than {MAX_INTERFACES}"));
    }
    for (at, interface) in config.interfaces.iter().enumerate() {
        check_interface(interface)?;
        let same =
            |other: &Interface| other.name == interface.name || other.device_mac == interface.device_mac;
        if config.interfaces.iter().take(at).any(same) {
            return refuse(format_args!("interfaces: {} or its device is named twice", interface.name));
        }
    }
    Ok(())
}

pub fn check_interface(interface: &Interface) -> Result<(), CallError> {
    let name = &interface.name;
    check_name(name)?;
    for (what, mac) in [("device_mac", interface.device_mac), ("mac", interface.mac)] {
        if !mac.is_unicast() {
            return refuse(format_args!("{what}: {mac} is no address of a single device"));
        }
    }
    let has_ipv6 = interface.addresses.iter().any(|address| !address.is_ipv4());
    let least = if has_ipv6 { MTU_IPV6 } else { MTU_IPV4 };
    if interface.mtu.is_some_and(|mtu| !(least..=MAX_MTU).contains(&mtu)) {
        return refuse(format_args!("mtu: {name} takes {least} to {MAX_MTU}"));
    }
    if interface.addresses.len() > MAX_ADDRESSES {
        return refuse(format_args!("addresses: more than {MAX_ADDRESSES} of {name}"));
    }
    check_routes(&interface.routes)
}

pub fn check_routes(routes: &[Route]) -> Result<(), CallError> {
    if routes.len() > MAX_ROUTES {
        return refuse(format_args!("routes: more than {MAX_ROUTES}"));
    }
    for Route { destination, gateway } in routes {
        if gateway.is_some_and(|gateway| gateway.is_ipv4() != destination.is_ipv4()) {
            return refuse(format_args!("routes: {destination} has a gateway of the other protocol"));
        }
    }
    Ok(())
}

/// What the kernel takes as a device's name, without those that mean something else in /proc/sys/net.
fn check_name(name: &str) -> Result<(), CallError> {
    let letters = name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(&byte));
    let taken = ["lo", "all", "default", ".", ".."].contains(&name);
    if letters && !taken && (1..=MAX_NAME).contains(&name.len()) {
        return Ok(());
    }
    refuse(format_args!("name: {:?} is none for a device", name.chars().take(20).collect::<String>()))
}

fn refuse(what: impl std::fmt::Display) -> Result<(), CallError> {
    Err(CallError { kind: ErrorKind::Invalid, message: format!("network.{what}") })
}
