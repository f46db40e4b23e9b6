//! Names of a policy: which may be asked for, and what their addresses open.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::network::firewall::Allow;
use crate::network::model::{AllowedHost, Egress};

/// A shorter life than this would end before who asked connects.
const SHORTEST: Duration = Duration::from_secs(60);
/// Whoever owns the name may say how long an answer holds, and how many there are.
const LONGEST: Duration = Duration::from_secs(3600);
/// RFC 1035, 2.3.4
const LONGEST_LABEL: usize = 63;
const LONGEST_NAME: usize = 253;

/// Letters, digits, `-` and `_` between dots, in lower case; not like an address.
pub fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= LONGEST_NAME
        && text.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a name may be asked for. In any case, with or without a dot at its end.
pub fn permits_name(egress: &Egress, name: &str) -> bool {
    matching(egress, name).next().is_some()
}

/// The ports that a name is allowed at.
fn matching<'a>(egress: &'a Egress, name: &str) -> impl Iterator<Item = Option<u16>> + 'a {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let matches = move |host: &AllowedHost| match host {
        AllowedHost::Prefix(_) => false,
        AllowedHost::Name(allowed) => match allowed.strip_prefix("*.") {
            Some(above) => {
                name.strip_suffix(above).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
            }
            None => *allowed == name,
        },
    };
    egress.allow.iter().filter(move |allowed| matches(&allowed.host)).map(|allowed| allowed.port)
}

/// Addresses of one answer that count.
const MOST_ADDRESSES: usize = 128;
/// Alibaba's and Azure's services for machines, at addresses that are nobody else's.
const SECRETS: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
/// Amazon's.
const SECRETS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// What a name's addresses open: who owns the name chooses them, so that they open nothing that is only the
/// host's or the link's.
pub fn opened(egress: &Egress, name: &str, addresses: &[IpAddr], ttl: Duration) -> Vec<Allow> {
    let lifetime = ttl.clamp(SHORTEST, LONGEST);
    let ports: Vec<Option<u16>> = matching(egress, name).collect();
    let mut opened = Vec::new();
    let addresses = addresses.iter().take(MOST_ADDRESSES);
    for address in addresses.map(IpAddr::to_canonical).filter(|address| !is_local(*address)) {
        for port in &ports {
            let new = Allow { address, port: *port, lifetime };
            if !opened.contains(&new) {
                opened.push(new);
            }
        }
    }
    opened
}

/// Also where clouds have what tells a machine its secrets, 169.254.169.254 and its like.
fn is_local(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => {
            address.is_link_local()
                || address.is_broadcast()
                || address.octets()[0] == 0
                || SECRETS.contains(&address)
        }
        IpAddr::V6(address) => {
            let inner = inside(address).map(IpAddr::V4);
            address.is_unicast_link_local() || address == SECRETS6 || inner.is_some_and(is_local)
        }
    };
    link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast()
}

/// The IPv4 address that a gateway on the way makes of it: NAT64 (RFC 6052, 2.1) and 6to4 (RFC 3056, 2).
fn inside(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] | [0x20, 0x02, a, b, c, d, ..] => {
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(value: &str) -> Egress {
        super::super::parse(&[value.to_owned()]).unwrap().unwrap()
    }

    #[test]
    fn a_name_is_permitted_by_itself_or_by_what_is_above_it() {
        let egress = egress("allow=a.example,*.b.example:443,10.0.0.0/8");
        for name in ["a.example", "A.Example.", "x.b.example", "x.y.b.example"] {
            assert!(permits_name(&egress, name), "{name}");
        }
        for name in ["", ".", "b.example", ".b.example", "x.a.example", "xb.example", "example", "10.0.0.1"] {
            assert!(!permits_name(&egress, name), "{name}");
        }
        assert!(!permits_name(&Egress::default(), "a.example"));
    }

    #[test]
    fn addresses_open_the_ports_of_all_that_the_name_matches_for_a_bounded_time() {
        let egress = egress("allow=a.b:80,*.b:443,a.b:80,c.b");
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let opened_by = |name, ttl| opened(&egress, name, &[address, address], Duration::from_secs(ttl));
        let ports = |name| -> Vec<Option<u16>> { opened_by(name, 300).iter().map(|it| it.port).collect() };
        assert_eq!(ports("a.b"), [Some(80), Some(443)]);
        assert_eq!(ports("c.b"), [Some(443), None]);
        assert_eq!(ports("c.d"), []);
        let lives = [0, 300, 1 << 31].map(|ttl| opened_by("c.b", ttl)[0].lifetime.as_secs());
        assert_eq!(lives, [60, 300, 3600]);
    }

    #[test]
    fn a_name_opens_nothing_of_the_hosts_own() {
        let egress = egress("allow=a.b");
        let addresses = [
            "127.0.0.1",
            "::1",
            "169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "224.0.0.1",
            "::ffff:127.0.0.1",
            "0.1.2.3",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ];
        let addresses = addresses.map(|address| address.parse().unwrap());
        assert_eq!(opened(&egress, "a.b", &addresses, Duration::ZERO), []);
    }
}
