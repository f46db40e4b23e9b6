//! Which addresses a registry may lead us to.
//!
//! A registry answers with redirects, upload locations and token servers of its choosing. Followed
//! blindly, they let whoever owns the registry ask hosts that only we can reach: services on loopback, a
//! cloud's metadata at 169.254.169.254, machines of the private network. So another host may be
//!
//! - at a public address, always;
//! - at a private one only if the registry is at a private one, too, or on this machine;
//! - on loopback only if the registry is;
//! - link-local, multicast or reserved only if the registry is.
//!
//! What counts is the address that is connected to, not a name that said something else a moment ago. A
//! registry with addresses of several kinds has the rights of the most public. Behind a proxy it is the
//! proxy that resolves names; there a registry known by name counts as public, and literal addresses of
//! the other kinds are refused.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver as ResolveForUreq};
use ureq::unversioned::transport::NextTimeout;

use crate::resolve::{self, Resolver};

/// How long a host's addresses are taken to stay.
const KEEP: Duration = Duration::from_secs(60);
/// Where ureq sets no limit, which it always does for hull.
const MAX_TIME: Duration = Duration::from_secs(60);

/// In the order of what they may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Loopback,
    Private,
    /// Link-local, multicast, reserved.
    Special,
    Public,
}

impl Class {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    /// RFC 6890 and the IANA registry of special-purpose addresses.
    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            // 0.0.0.0 is taken for this host by Linux.
            [127 | 0, ..] => Self::Loopback,
            [169, 254, ..] | [224..=255, ..] => Self::Special,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18..=19, ..] => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_loopback() || address.is_unspecified() {
            return Self::Loopback;
        }
        match address.segments() {
            // NAT64 (RFC 6052) and 6to4 carry an address of IPv4.
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                Self::of_v4(Ipv4Addr::new(a, b, c, d))
            }
            [0xfe80..=0xfebf, ..] | [0xff00..=0xffff, ..] => Self::Special,
            [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Self::Private,
            _ => Self::Public,
        }
    }

    /// Whether a registry of this class may lead to an address of that one.
    pub fn may_lead_to(self, other: Self) -> bool {
        match other {
            Self::Public => true,
            Self::Private => matches!(self, Self::Private | Self::Loopback),
            Self::Loopback | Self::Special => self == other,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the registry leads to {host} at {address}, which a registry elsewhere has no business with")]
pub struct Refused {
    host: String,
    address: IpAddr,
}

/// Finds addresses for one registry and what it leads to.
#[derive(Debug)]
pub struct Reach {
    resolver: Resolver,
    /// The registry's own host, and port: without one those of http and https.
    own: (String, Option<u16>),
    class: Mutex<Option<Class>>,
    known: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
}

/// A URL's host without brackets, and its port.
pub fn host_and_port(url: &Uri) -> Option<(&str, u16)> {
    let host = url.host()?.trim_matches(['[', ']']);
    let port = match (url.port_u16(), url.scheme_str()?) {
        (Some(port), _) => port,
        (None, "http") => 80,
        (None, "https") => 443,
        _ => return None,
    };
    Some((host, port))
}

impl Reach {
    pub fn new(resolver: Resolver, own: (String, Option<u16>)) -> Self {
        let class = own.0.parse().ok().map(Class::of);
        Self { resolver, own, class: Mutex::new(class), known: Mutex::default() }
    }

    /// Whether a URL is the registry's itself: host and port are the same.
    pub fn is_own(&self, url: &Uri) -> bool {
        host_and_port(url).is_some_and(|(host, port)| {
            let is_port = self.own.1.map_or(matches!(port, 80 | 443), |own| own == port);
            is_port && host.eq_ignore_ascii_case(&self.own.0)
        })
    }

    /// Refuses what needs no look-up to be refused, for connections that a proxy makes.
    pub fn check_literal(&self, url: &Uri) -> Result<(), Refused> {
        let (host, _) = host_and_port(url).unwrap_or_default();
        match host.parse() {
            Ok(address) if !self.is_own(url) => self.permitted(host, vec![address]).map(drop),
            _ => Ok(()),
        }
    }

    fn permitted(&self, host: &str, mut addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Refused> {
        let own = lock(&self.class).unwrap_or(Class::Public);
        let first = addresses.first().copied();
        addresses.retain(|address| own.may_lead_to(Class::of(*address)));
        match (addresses.is_empty(), first) {
            (true, Some(address)) => Err(Refused { host: host.to_owned(), address }),
            _ => Ok(addresses),
        }
    }

    fn addresses(&self, host: &str, time: Duration) -> Result<Vec<IpAddr>, resolve::Error> {
        let now = Instant::now();
        if let Some((until, addresses)) = lock(&self.known).get(host)
            && *until > now
        {
            return Ok(addresses.clone());
        }
        let addresses = self.resolver.lookup(host, now + time)?;
        lock(&self.known).insert(host.to_owned(), (now + KEEP, addresses.clone()));
        Ok(addresses)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What ureq asks before it connects. With a proxy it asks only for the proxy's own addresses.
#[derive(Debug)]
pub struct ReachForUreq(pub std::sync::Arc<Reach>);

impl ResolveForUreq for ReachForUreq {
    fn resolve(
        &self,
        url: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let other = |error: Box<dyn std::error::Error + Send + Sync>| ureq::Error::Other(error);
        let (host, port) = host_and_port(url).ok_or(ureq::Error::HostNotFound)?;
        let time = if timeout.after.is_not_happening() { MAX_TIME } else { *timeout.after };
        let mut addresses = self.0.addresses(host, time).map_err(|error| other(error.into()))?;
        if config.proxy().is_none() {
            if self.0.is_own(url) {
                let most_public = addresses.iter().map(|address| Class::of(*address)).max();
                let mut class = lock(&self.0.class);
                *class = (*class).max(most_public);
            } else {
                addresses = self.0.permitted(host, addresses).map_err(|error| other(error.into()))?;
            }
        }
        let mut found = self.empty();
        for address in addresses.into_iter().take(resolve::MAX_ADDRESSES) {
            found.push(SocketAddr::new(address, port));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(address: &str) -> Class {
        Class::of(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_told_apart_in_every_disguise() {
        for address in
            ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
        {
            assert_eq!(class(address), Class::Loopback, "{address}");
        }
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert_eq!(class(address), Class::Special, "{address}");
        }
        for address in ["10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "2002:a00:1::"] {
            assert_eq!(class(address), Class::Private, "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "2606:4700::1", "64:ff9b::808:808"] {
            assert_eq!(class(address), Class::Public, "{address}");
        }
    }

    #[test]
    fn only_neighbours_are_led_to() {
        use Class::*;
        let table = [
            (Public, [false, false, false, true]),
            (Private, [false, true, false, true]),
            (Loopback, [true, true, false, true]),
            (Special, [false, false, true, true]),
        ];
        for (own, expected) in table {
            assert_eq!(
                [Loopback, Private, Special, Public].map(|to| own.may_lead_to(to)),
                expected,
                "{own:?}"
            );
        }
    }

    #[test]
    fn the_own_host_is_told_by_host_and_port() {
        let reach = Reach::new(Resolver::default(), ("registry.example".into(), None));
        assert!(reach.is_own(&"https://Registry.example/v2/".parse().unwrap()));
        for url in
            ["http://registry.example:81/", "https://registry.example:444/", "https://registry.example.org/"]
        {
            assert!(!reach.is_own(&url.parse().unwrap()), "{url}");
        }
        assert!(reach.check_literal(&"http://[::1]:80/".parse().unwrap()).is_err());
        assert!(reach.check_literal(&"http://8.8.8.8/".parse().unwrap()).is_ok());
    }
}
