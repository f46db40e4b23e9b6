//! The network namespace that all of a sandbox's containers are in, and the devices in it.
//!
//! The agent is in it itself, and stays: what it opens and writes there needs no way in and out, and the way
//! back would be closed to an agent without root, since the host's namespace belongs to the host's root.

mod check;
mod interface;
mod namespace;
mod resolver;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

pub use check::{check, check_interface, check_routes};
pub use resolver::ResolverSockets;

use crate::container::namespaces;
use crate::container::spec::Place;
use crate::error::StepError;
use crate::netlink::Socket;
use crate::netlink::route::{Link, RouteEntry, RouteError, Rtnetlink};
use crate::protocol::{
    CallError, DisconnectArgs, ErrorKind, Interface, NetworkConfig, NetworkNamespace, Route,
};

/// Where a slot's device is called in whatever namespace it comes to.
const SLOT: &str = "slot%d";
/// Changes of devices taken note of at a time.
const MAX_NEWS: usize = 64;

pub struct Network {
    /// None: the host's, in which there is nothing to configure.
    inside: Option<Rtnetlink>,
    outside: Option<Outside>,
    connected: Vec<Connected>,
    /// Has something to read when a device has changed.
    news: Option<OwnedFd>,
    /// For the agent to take.
    pub resolver: Option<ResolverSockets>,
}

/// Guest: the machine's own namespace, where its devices are that no container has.
struct Outside {
    namespace: OwnedFd,
    route: Rtnetlink,
}

struct Connected {
    /// As it was configured. Containers may have changed everything but the index.
    interface: Interface,
    index: u32,
    /// That it had before.
    mtu: u32,
    /// Its addresses have been told to the neighbours since it was plugged in.
    announced: bool,
}

impl Network {
    /// Moves the agent into the namespace for good, then configures its devices. `config` is checked.
    pub fn set_up(config: &NetworkConfig, place: Place, handed: Option<OwnedFd>) -> Result<Self, CallError> {
        if config.namespace == NetworkNamespace::Host {
            return Ok(Network {
                inside: None,
                outside: None,
                connected: Vec::new(),
                news: None,
                resolver: None,
            });
        }
        let outside = match place {
            Place::Guest => Some(Outside { namespace: namespace::own()?, route: Rtnetlink::open()? }),
            Place::Host => None,
        };
        match (config.namespace, handed) {
            (NetworkNamespace::Handed, Some(handed)) => namespace::enter(handed)?,
            (NetworkNamespace::Handed, None) => return Err(not_handed().into()),
            (NetworkNamespace::New | NetworkNamespace::Host, _) => namespace::make()?,
        }
        namespaces::loopback_up()?;
        namespaces::open_to_users();
        let inside = Some(Rtnetlink::open()?);
        let news = Some(
            Socket::device_news().map_err(|source| RouteError { what: "watch devices".into(), source })?,
        );
        let resolver = config.dns.then(ResolverSockets::open).transpose()?;
        let mut network = Network { inside, outside, connected: Vec::new(), news, resolver };
        for interface in &config.interfaces {
            network.connect(interface)?;
        }
        Ok(network)
    }

    /// Whether it is not the sandbox's own.
    pub fn is_hosts(&self) -> bool {
        self.inside.is_none()
    }

    /// `interface` is checked.
    pub fn connect(&mut self, interface: &Interface) -> Result<(), CallError> {
        let Some(inside) = &mut self.inside else { return Err(hosts()) };
        let same = |other: &Connected| {
            other.interface.name == interface.name || other.interface.device_mac == interface.device_mac
        };
        if self.connected.iter().any(same) {
            let message = format!("The sandbox has a device {} already, or that device", interface.name);
            return Err(CallError { kind: ErrorKind::State, message });
        }
        let link = fetch(inside, self.outside.as_mut(), interface)?;
        let connected =
            Connected { interface: interface.clone(), index: link.index, mtu: link.mtu, announced: false };
        let configured = interface::configure(inside, link.index, interface);
        if let Err(error) = configured {
            // What cannot be undone either is told by the next call.
            let _ = release(inside, self.outside.as_mut(), &connected);
            return Err(error.into());
        }
        self.connected.push(connected);
        Ok(())
    }

    pub fn news(&self) -> Option<&OwnedFd> {
        self.news.as_ref()
    }

    /// A device that comes up tells of its addresses, but is heard only once it is plugged in.
    pub fn on_news(&mut self) {
        let (Some(news), Some(inside)) = (&self.news, &mut self.inside) else { return };
        // What it was is asked for below; too much of it to be kept (ENOBUFS) is news as well. What is left
        // is the next event.
        for _ in 0..MAX_NEWS {
            if matches!(recv(news, &mut [0u8; 64], RecvFlags::DONTWAIT), Err(Errno::AGAIN)) {
                break;
            }
        }
        for connected in &mut self.connected {
            let Ok(Some(link)) = inside.link_by_index(connected.index) else { continue };
            let plugged_in = link.carrier && link.running;
            if plugged_in && !connected.announced && link.mac == Some(connected.interface.mac) {
                // Setting the address it has makes it tell (arp_notify, ndisc_notify).
                let _ = inside.set_mac(link.index, connected.interface.mac);
            }
            connected.announced = plugged_in;
        }
    }

    /// `args.routes` are checked.
    pub fn disconnect(&mut self, args: &DisconnectArgs) -> Result<(), CallError> {
        let Some(inside) = &mut self.inside else { return Err(hosts()) };
        let Some(at) = self.connected.iter().position(|it| it.interface.name == args.name) else {
            let message = format!("The sandbox has no device {}", crate::error::shown(args.name.as_bytes()));
            return Err(CallError { kind: ErrorKind::State, message });
        };
        let connected = self.connected.swap_remove(at);
        release(inside, self.outside.as_mut(), &connected)?;
        for Route { destination, gateway } in args.routes.iter().copied() {
            let route = RouteEntry { destination, gateway, device: None, metric: None };
            inside.replace_route(&route)?;
        }
        Ok(())
    }
}

/// Finds the device that `interface` means, in a guest where it is still the machine's.
fn fetch(
    inside: &mut Rtnetlink,
    outside: Option<&mut Outside>,
    interface: &Interface,
) -> Result<Link, CallError> {
    let missing = || {
        let message = format!("There is no device of the address {}", interface.device_mac);
        CallError { kind: ErrorKind::Setup, message }
    };
    if let Some(outside) = outside {
        let device = outside.route.link_by_mac(interface.device_mac)?.ok_or_else(missing)?;
        outside.route.move_to(device.index, namespace::own()?.as_fd(), Some(SLOT))?;
    }
    inside.link_by_mac(interface.device_mac)?.ok_or_else(missing)
}

/// Gives a guest's device back as it was. A host's is removed, and its other end with it.
fn release(
    inside: &mut Rtnetlink,
    outside: Option<&mut Outside>,
    connected: &Connected,
) -> Result<(), RouteError> {
    let Some(link) = inside.link_by_index(connected.index)? else { return Ok(()) };
    let Some(outside) = outside else { return inside.delete_link(&link.name).map(drop) };
    inside.set_down(link.index)?;
    inside.set_mac(link.index, connected.interface.device_mac)?;
    inside.set_mtu(link.index, connected.mtu)?;
    inside.move_to(link.index, outside.namespace.as_fd(), Some(SLOT))
}

fn hosts() -> CallError {
    let message = "The containers are in the host's network, which is not for hull to change".to_owned();
    CallError { kind: ErrorKind::State, message }
}

fn not_handed() -> StepError {
    StepError::new(ErrorKind::Invalid, "network.namespace: none was handed over at the start (--net-fd)")
}
