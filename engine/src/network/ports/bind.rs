//! Takes a sandbox's ports of the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::errno::Errno;

use super::PortError;
use super::parse::MOST;
use super::socket::PortSocket;
use crate::descriptors;
use crate::network::model::{Networking, Port, Protocol, Publish, PublishedRow, of_family};
use crate::store::Store;

const EVERYWHERE: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
/// Ports that the kernel offers may be taken in the other family.
const TRIES: usize = 16;
/// What else a supervisor has open.
pub(super) const OTHER_DESCRIPTORS: usize = 1024;

/// The ports of one sandbox, held as long as this lives.
#[derive(Debug, Default)]
pub struct Bound {
    pub(super) ports: Vec<BoundPort>,
}

#[derive(Debug)]
pub(super) struct BoundPort {
    pub container: Port,
    pub at: SocketAddr,
    pub socket: PortSocket,
}

/// Takes what `networking` publishes, in the network namespace that the process is in, and records it.
/// All of it or nothing.
pub fn bind(store: &Store, owner: &str, networking: &Networking) -> Result<Bound, PortError> {
    let mut wanted = wanted(networking)?;
    if wanted.is_empty() {
        return Ok(Bound::default());
    }
    descriptors::allow(u64::try_from(wanted.len() * 2 + OTHER_DESCRIPTORS).unwrap_or(u64::MAX));
    // Ports that can only be these come before those that can be others.
    wanted.sort_by_key(|publish| publish.host.map_or(u16::MAX, |(first, last)| last - first));
    let mut bound = Bound::default();
    for publish in &wanted {
        let taken = take(publish).map_err(|error| bound.explain(store, publish.container.protocol, error))?;
        bound.ports.extend(taken);
    }
    store.db().set_published(owner, &bound.rows(owner))?;
    Ok(bound)
}

fn wanted(networking: &Networking) -> Result<Vec<Publish>, PortError> {
    let mut wanted = networking.publish.clone();
    if networking.publish_all {
        let published = |port: &Port| networking.publish.iter().any(|publish| publish.container == *port);
        let rest = networking.expose.iter().filter(|port| !published(port));
        wanted.extend(rest.map(|port| Publish { container: *port, address: None, host: None }));
    }
    if let Some(sctp) = wanted.iter().find(|publish| publish.container.protocol == Protocol::Sctp) {
        return Err(PortError::Sctp(sctp.container));
    }
    if wanted.len() > MOST { Err(PortError::TooMany) } else { Ok(wanted) }
}

fn take(publish: &Publish) -> Result<Vec<BoundPort>, PortError> {
    let addresses = publish.address.as_ref().map_or(&EVERYWHERE[..], std::slice::from_ref);
    let Some((first, last)) = publish.host else {
        return take_any(publish.container, addresses);
    };
    for port in first..=last {
        match take_everywhere(publish.container, addresses, port) {
            Err(PortError::Taken { .. }) if first != last => {}
            outcome => return outcome,
        }
    }
    Err(PortError::AllTaken { address: addresses.first().copied().unwrap_or(EVERYWHERE[0]), first, last })
}

/// A port of the kernel's choice, from net.ipv4.ip_local_port_range.
fn take_any(container: Port, addresses: &[IpAddr]) -> Result<Vec<BoundPort>, PortError> {
    let mut outcome = take_everywhere(container, addresses, 0);
    for _ in 1..TRIES {
        match outcome {
            Err(PortError::Taken { .. }) => outcome = take_everywhere(container, addresses, 0),
            _ => break,
        }
    }
    outcome
}

/// The same port at each address.
fn take_everywhere(container: Port, addresses: &[IpAddr], port: u16) -> Result<Vec<BoundPort>, PortError> {
    let (mut taken, mut port) = (Vec::<BoundPort>::new(), port);
    for address in addresses {
        let at = SocketAddr::new(*address, port);
        match PortSocket::open(container.protocol, at) {
            Ok((socket, at)) => {
                port = at.port();
                taken.push(BoundPort { container, at, socket });
            }
            // A host without IPv6 publishes with IPv4.
            Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) if !taken.is_empty() => {}
            Err(Errno::EADDRINUSE) => return Err(PortError::Taken { at, holder: None }),
            Err(Errno::EACCES) => return Err(PortError::Privileged(at)),
            Err(Errno::EADDRNOTAVAIL) => return Err(PortError::NoAddress(at)),
            Err(errno) => return Err(PortError::Bind { at, source: errno.into() }),
        }
    }
    Ok(taken)
}

impl BoundPort {
    /// At the sandbox's address of the same family, if it has one.
    pub fn target(&self, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Option<SocketAddr> {
        of_family(self.at.ip(), ipv4, ipv6).map(|address| SocketAddr::new(address, self.container.number))
    }
}

impl Bound {
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    pub fn rows(&self, owner: &str) -> Vec<PublishedRow> {
        let row = |port: &BoundPort| PublishedRow {
            owner: owner.to_owned(),
            container: port.container,
            address: port.at.ip(),
            host_port: port.at.port(),
        };
        self.ports.iter().map(row).collect()
    }

    #[cfg(test)]
    pub(super) fn first(&self) -> SocketAddr {
        self.ports[0].at
    }

    /// Says whose the port is that is taken, where it is hull's.
    fn explain(&self, store: &Store, protocol: Protocol, error: PortError) -> PortError {
        let PortError::Taken { at, .. } = error else { return error };
        let meets = |address: IpAddr| {
            address.is_ipv4() == at.is_ipv4()
                && (address == at.ip() || address.is_unspecified() || at.ip().is_unspecified())
        };
        let own = |port: &BoundPort| {
            (port.container.protocol, port.at.port()) == (protocol, at.port()) && meets(port.at.ip())
        };
        if self.ports.iter().any(own) {
            return PortError::Taken { at, holder: Some("this container itself".to_owned()) };
        }
        // The refusal counts, whatever can be said of it.
        let rows = store.db().publishers(Port { number: at.port(), protocol }).unwrap_or_default();
        let holder = rows.into_iter().find(|(row, _)| meets(row.address)).map(|(_, name)| name);
        PortError::Taken { at, holder }
    }
}

#[cfg(test)]
#[path = "bind_tests.rs"]
mod tests;
