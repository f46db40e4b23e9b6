//! From a device to an interface of the sandbox.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::netlink::route::{RouteEntry, RouteError, Rtnetlink};
use crate::protocol::{Interface, Route};

/// The device is in this namespace. Whatever it had is gone afterwards.
pub fn configure(route: &mut Rtnetlink, index: u32, wanted: &Interface) -> Result<(), RouteError> {
    route.set_down(index)?;
    for (device, address) in route.addresses()? {
        if device == index {
            route.delete_address(index, address)?;
        }
    }
    route.set_mac(index, wanted.mac)?;
    route.rename(index, &wanted.name)?;
    if let Some(mtu) = wanted.mtu {
        route.set_mtu(index, mtu)?;
    }
    let ipv6 = wanted.addresses.iter().any(|address| !address.is_ipv4());
    prepare_protocols(route, index, &wanted.name, ipv6)?;
    // Coming up is what tells the neighbours of addresses of IPv4; those of IPv6 tell of themselves, and are
    // lost when a device goes down.
    for address in wanted.addresses.iter().filter(|address| address.is_ipv4()) {
        route.add_address(index, *address)?;
    }
    route.set_up(index)?;
    for address in wanted.addresses.iter().filter(|address| !address.is_ipv4()) {
        route.add_address(index, *address)?;
    }
    // Gateways are reached by what is at the link.
    let (through, at_link): (Vec<&Route>, Vec<&Route>) =
        wanted.routes.iter().partition(|route| route.gateway.is_some());
    for Route { destination, gateway } in at_link.into_iter().chain(through).copied() {
        route.replace_route(&RouteEntry { destination, gateway, device: Some(index), metric: None })?;
    }
    Ok(())
}

/// Nothing configures the device but hull: neither routers nor itself. Others learn at once who has its
/// addresses now.
fn prepare_protocols(route: &mut Rtnetlink, index: u32, name: &str, ipv6: bool) -> Result<(), RouteError> {
    match route.set_link_local(index, ipv6) {
        // The kernel has no IPv6.
        Err(error) if error.is(Errno::AFNOSUPPORT) && !ipv6 => (),
        done => done?,
    }
    set("ipv4", name, "arp_notify", "1");
    set("ipv6", name, "disable_ipv6", if ipv6 { "0" } else { "1" });
    set("ipv6", name, "accept_ra", "0");
    set("ipv6", name, "autoconf", "0");
    set("ipv6", name, "accept_dad", "0");
    set("ipv6", name, "ndisc_notify", "1");
    Ok(())
}

/// Where /proc/sys is read-only, or has no IPv6, it is left: the host drops what these do not keep out.
fn set(protocol: &str, device: &str, key: &str, value: &str) {
    let path = format!("/proc/sys/net/{protocol}/conf/{device}/{key}");
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let _ = file.and_then(|file| rustix::io::write(file, value.as_bytes()));
}
