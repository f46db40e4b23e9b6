//! Host names to addresses, without the C library.
//!
//! hull is linked statically, where `getaddrinfo` would load the host's NSS modules into it. So names are
//! found here as resolv.conf(5) and hosts(5) describe it: address literals, `/etc/hosts`, `localhost`
//! (RFC 6761, 6.3), then the name servers of `/etc/resolv.conf`. Other sources that nsswitch.conf(5) may
//! name (mDNS, LDAP) are not asked.
//!
//! What a name server says is untrusted: an answer counts only if it comes from the server that was asked,
//! with the question's number and the question itself, and only a few addresses of it are taken.

mod ask;
mod conf;
mod hosts;
#[cfg(test)]
pub(crate) mod test_server;
mod wire;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::text::escape;

use ask::Outcome;
pub use conf::Conf;

/// Addresses of one name that are kept.
pub const MAX_ADDRESSES: usize = 16;
/// Either file may be this long; the rest is not read.
const MAX_FILE: u64 = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} is no host name", escape(.0))]
    Name(String),
    #[error("The host {} is not known: its name has no address", escape(.0))]
    NotFound(String),
    #[error("No name server answered for the host {} (asked: {asked})", escape(.name))]
    Unanswered { name: String, asked: String },
}

/// Where names are looked up. The files are read at each look-up, as they change while a host moves
/// between networks.
#[derive(Debug, Clone)]
pub struct Resolver {
    hosts: PathBuf,
    resolv_conf: PathBuf,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), resolv_conf: "/etc/resolv.conf".into() }
    }
}

impl Resolver {
    /// The addresses of a name, at least one, in the order in which they are to be tried.
    pub fn lookup(&self, name: &str, deadline: Instant) -> Result<Vec<IpAddr>, Error> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let from_file = hosts::find(&read(&self.hosts), name);
        if !from_file.is_empty() {
            return Ok(from_file);
        }
        if is_localhost(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let conf = self.conf();
        ask_servers(&conf, name, deadline).map(in_order)
    }
}

impl Resolver {
    /// What the file says of name servers now.
    pub fn conf(&self) -> Conf {
        Conf::parse(&read(&self.resolv_conf))
    }
}

/// Asks for the name itself and in the search list's domains, until one has addresses.
fn ask_servers(conf: &Conf, name: &str, deadline: Instant) -> Result<Vec<IpAddr>, Error> {
    for candidate in conf.candidates(name) {
        let candidate = wire::name(&candidate).ok_or_else(|| Error::Name(name.to_owned()))?;
        match ask::ask(conf, &candidate, deadline) {
            Outcome::Addresses(addresses) => return Ok(addresses),
            Outcome::Nothing => {}
            Outcome::Unanswered => {
                let servers: Vec<String> = conf.servers.iter().map(ToString::to_string).collect();
                return Err(Error::Unanswered { name: name.to_owned(), asked: servers.join(", ") });
            }
        }
    }
    Err(Error::NotFound(name.to_owned()))
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Addresses that this host has no route to come last; before that IPv4 comes first: where IPv6 is
/// broken its packets mostly vanish without a word, and each connection would wait for its timeout.
fn in_order(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_by_cached_key(|address| (!is_reachable(*address), address.is_ipv6()));
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

/// Whether there is a route. Connecting a datagram socket sends nothing.
fn is_reachable(address: IpAddr) -> bool {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    std::net::UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, 9))).is_ok()
}

/// A file's text; what cannot be read says nothing, as for the C library.
fn read(path: &Path) -> String {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn left(deadline: Instant) -> Option<Duration> {
    Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests;
