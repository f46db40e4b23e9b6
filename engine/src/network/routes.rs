//! What the host has routes to: a network's subnet must not hide it.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};

use hull_guest::protocol::Prefix;

/// Of the main tables (proc(5), /proc/net/route; the kernel's net/ipv6/route.c, rt6_info_route), but for
/// default routes. A table that cannot be read has none.
pub fn host_prefixes() -> Vec<Prefix> {
    all().into_iter().filter(|route| route.length != 0).collect()
}

/// Whether the host has a default route.
pub fn host_leads_outside() -> bool {
    all().iter().any(|route| route.length == 0)
}

fn all() -> Vec<Prefix> {
    let ipv4 = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let ipv6 = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    ipv4.lines().filter_map(ipv4_route).chain(ipv6.lines().filter_map(ipv6_route)).collect()
}

/// `eth0 000111AC 00000000 0001 0 0 0 0000FFFF 0 0 0`: in the order of the host's bytes.
fn ipv4_route(line: &str) -> Option<Prefix> {
    let mut words = line.split_whitespace();
    let number = |word: &str| u32::from_str_radix(word, 16).ok().map(|number| number.to_ne_bytes());
    let address = Ipv4Addr::from(number(words.nth(1)?)?);
    let mask = u32::from_be_bytes(number(words.nth(5)?)?);
    Prefix::new(address.into(), u8::try_from(mask.leading_ones()).ok()?)
}

/// `fe800000000000000000000000000000 40 ... eth0`: network byte order, the length in hexadecimal.
fn ipv6_route(line: &str) -> Option<Prefix> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, length) = (words.first()?, words.get(1)?);
    // On loopback there are hosts' own addresses, and what is unreachable.
    if words.last() == Some(&"lo") {
        return None;
    }
    let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
    Prefix::new(address.into(), u8::from_str_radix(length, 16).ok()?)
}

/// Whether the host has a device of this name (proc(5), /proc/net/dev).
pub(super) fn has_device(name: &str) -> bool {
    let devices = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    devices.lines().filter_map(|line| line.split_once(':')).any(|(device, _)| device.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_and_headings_are_none() {
        let read = |line: &str| ipv4_route(line).map(|route| route.to_string());
        assert_eq!(read("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU"), None);
        let line = "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0";
        assert_eq!(read(line).unwrap(), "172.17.0.0/16");
        let line = "fd000005000000000000000000000000 40 00000000000000000000000000000000 00 \
                    00000000000000000000000000000000 00000100 00000001 00000000 00000001 br0";
        assert_eq!(ipv6_route(line).unwrap().to_string(), "fd00:5::/64");
        assert_eq!(ipv6_route(&line.replace("br0", "lo")), None);
    }
}
