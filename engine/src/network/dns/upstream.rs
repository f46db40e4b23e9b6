//! Who is asked for names that are nobody's here.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::resolve::Resolver;

/// As many as docker asks.
const MAX_SERVERS: usize = 3;
const PORT: u16 = 53;
/// What a server may take before the next is asked. The C library in the container asks again after 5 seconds.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Servers that the user named, or the host's own. They are asked from where hull runs: a resolver on the
/// host's loopback is one of the host's.
#[derive(Debug, Clone)]
pub enum Upstream {
    These(Vec<SocketAddr>),
    /// As the file says at the moment of each question: hosts move between networks.
    Host(Resolver),
}

/// For one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    pub addresses: Vec<SocketAddr>,
    pub timeout: Duration,
    /// By TCP only.
    pub tcp: bool,
}

impl Upstream {
    /// `servers`: of `--dns`.
    pub fn new(servers: &[IpAddr]) -> Self {
        if servers.is_empty() {
            return Upstream::Host(Resolver::default());
        }
        Upstream::These(servers.iter().map(|server| (*server, PORT).into()).collect())
    }

    pub fn servers(&self) -> Servers {
        let (mut addresses, timeout, tcp) = match self {
            Upstream::These(addresses) => (addresses.clone(), TIMEOUT, false),
            Upstream::Host(resolver) => {
                let conf = resolver.conf();
                (conf.servers, conf.timeout.min(TIMEOUT), conf.tcp)
            }
        };
        addresses.truncate(MAX_SERVERS);
        Servers { addresses, timeout, tcp }
    }
}
