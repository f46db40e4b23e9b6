//! A sandbox's endpoints, brought up and taken back.
//!
//! Everything here may be repeated: who comes after one that was killed half-way finishes it, or takes it
//! back. The rows say what was handed out, names of devices derive from endpoints' ids, and what belongs to
//! nobody is found by [`super::sweep`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use hull_guest::protocol::{Interface, Mac, Prefix, Route};

use super::egress::Log;
use super::firewall::Allow;
use super::host::{Host, Side};
use super::model::{EndpointRow, Mode, NetworkRow, Networking, Pool, Rates};
use super::place::Place;
use super::ports::{Bound, Relay, Work};
use super::{NetworkError, ipam, ports};
use crate::store::{self, Store};

/// Network devices a machine has beyond those in use, for networks that it is connected to while it runs.
const SPARE_DEVICES: usize = 2;
/// Of a machine's first device; the last byte counts. Locally administered, and known to its agent only.
const DEVICE_MAC: [u8; 6] = [0x02, 0x68, 0x75, 0x6c, 0x00, 0x00];

/// A sandbox's network while it is up. Published ports are relayed until it is dropped.
#[derive(Debug)]
pub struct Attached {
    /// By position.
    pub endpoints: Vec<Endpoint>,
    /// Of a machine: what is still to be plugged in.
    pub plugs: Vec<Plug>,
    /// Where what its policy refuses is heard of.
    pub log: Option<Log>,
    relay: Option<Relay>,
}

/// One of them, and what the agent has to know of it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub row: EndpointRow,
    pub network: NetworkRow,
    pub interface: Interface,
}

/// A tap for a machine's network device.
#[derive(Debug)]
pub struct Plug {
    pub device: u8,
    pub tap: OwnedFd,
    pub rates: Rates,
}

/// Devices that a machine is built with whose endpoints take so many positions.
pub fn devices(networking: &Networking, positions: usize) -> u8 {
    if networking.mode != Mode::Networks {
        return 0;
    }
    let wanted = (positions + SPARE_DEVICES).min(hull_vmm::config::MAX_NETS);
    u8::try_from(wanted).unwrap_or(u8::MAX)
}

/// How far a sandbox's endpoints reach.
pub fn positions(store: &Store, owner: &str) -> Result<usize, store::Error> {
    let last = store.db().endpoints_of(owner)?.last().map(|row| usize::from(row.position) + 1);
    Ok(last.unwrap_or(0))
}

/// How a machine's agent finds a device of it.
pub fn device_mac(device: u8) -> Mac {
    let mut mac = DEVICE_MAC;
    mac[5] = device;
    Mac(mac)
}

/// Makes all of a sandbox's endpoints. `before`: what there was, if it was up already and has died. `start` runs
/// the relay of published ports.
pub fn up(
    store: &Store,
    owner: &str,
    networking: &Networking,
    side: Side<'_>,
    before: Option<Attached>,
    start: impl FnOnce(Place, Work) -> Option<JoinHandle<()>>,
) -> Result<Attached, NetworkError> {
    let before = before.and_then(|attached| attached.relay);
    // A port is bound first: a taken one is the most likely reason not to start.
    let bound = match before {
        Some(_) => None,
        None if publishes(store, owner)? => Some(ports::bind(store, owner, networking)?),
        None => None,
    };
    let mut host = Host::lock(store)?;
    let log = networking.egress.as_ref().map(|_| host.listen(owner)).transpose()?;
    let mut attached = Attached { endpoints: Vec::new(), plugs: Vec::new(), log, relay: before };
    for (row, network) in ipam::allocate(store, owner)? {
        let carries =
            leads_out(&network) && !attached.endpoints.iter().any(|other| leads_out(&other.network));
        let tap = host.connect(&row, &network, side)?;
        attached.plugs.extend(tap.map(|tap| Plug::new(&row, tap)));
        attached.endpoints.push(Endpoint::new(row, network, side, carries));
    }
    // That of before leads to where the sandbox was.
    attached.aim();
    if let Some(bound) = bound {
        attached.relay(bound, host.place().clone(), start)?;
    }
    Ok(attached)
}

/// One endpoint more, of a sandbox that is up.
pub fn connect(
    store: &Store,
    owner: &str,
    networking: &Networking,
    attached: &mut Attached,
    endpoint: &str,
    side: Side<'_>,
    start: impl FnOnce(Place, Work) -> Option<JoinHandle<()>>,
) -> Result<(Endpoint, Option<Plug>), NetworkError> {
    // Those of a sandbox that was on internal networks only.
    let late = attached.relay.is_none() && publishes(store, owner)?;
    let bound = late.then(|| ports::bind(store, owner, networking)).transpose()?;
    let mut host = Host::lock(store)?;
    let all = ipam::allocate(store, owner)?;
    let found = all.into_iter().find(|(row, _)| row.id == endpoint);
    let missing = || store::Error::NotFound { what: "endpoint", name: endpoint.to_string() };
    let (row, network) = found.ok_or_else(missing)?;
    let carries =
        leads_out(&network) && attached.carrier().is_none_or(|carrier| carrier.row.position > row.position);
    let tap = host.connect(&row, &network, side)?;
    let plug = tap.map(|tap| Plug::new(&row, tap));
    if let Some(bound) = bound {
        attached.relay(bound, host.place().clone(), start)?;
    }
    Ok((Endpoint::new(row, network, side, carries), plug))
}

/// Lets a sandbox with an egress policy begin to talk to these.
pub fn open(store: &Store, owner: &str, destinations: &[Allow]) -> Result<(), NetworkError> {
    Ok(Host::lock(store)?.open(owner, destinations)?)
}

/// Takes one endpoint back, of a sandbox that stays up. `heir`: who carries from now on what it carried.
pub fn disconnect(store: &Store, gone: &EndpointRow, heir: Option<&Endpoint>) -> Result<(), NetworkError> {
    let mut host = Host::lock(store)?;
    host.disconnect(gone)?;
    ipam::release_endpoint(store, &gone.owner, &gone.id)?;
    if let Some(heir) = heir {
        host.judge(&heir.row, &heir.network)?;
    }
    Ok(())
}

/// Takes back all that was made for a sandbox that is down. Costs a look at the database where that is
/// nothing.
pub fn down(store: &Store, owner: &str) -> Result<(), NetworkError> {
    let mut live = store.db().endpoints_of(owner)?;
    live.retain(|row| row.live.is_some());
    if live.is_empty() {
        // Bound for a start that came to nothing, or for a network that it was taken from.
        return match store.db().published_of(owner)?.is_empty() {
            true => Ok(()),
            false => Ok(ipam::release(store, owner)?),
        };
    }
    let mut host = Host::lock(store)?;
    // What is in the kernel goes first: while its row is there, it is found again.
    for row in &live {
        host.disconnect(row)?;
        ipam::release_endpoint(store, owner, &row.id)?;
    }
    Ok(ipam::release(store, owner)?)
}

/// Forgets an endpoint, with what there may be of it in the kernel.
pub fn forget(store: &Store, endpoint: &EndpointRow) -> Result<(), NetworkError> {
    let rows = store.db().endpoints_of(&endpoint.owner)?;
    if let Some(live) = rows.iter().find(|row| row.id == endpoint.id && row.live.is_some()) {
        disconnect(store, live, None)?;
    }
    Ok(store.db().remove_endpoint(&endpoint.id)?)
}

/// Removes what supervisors left in the kernel that were killed before it had a row, or after.
pub fn sweep(store: &Store) -> Result<(), NetworkError> {
    Ok(Host::lock(store)?.sweep()?)
}

/// An internal network publishes nothing, as docker's.
fn publishes(store: &Store, owner: &str) -> Result<bool, NetworkError> {
    for row in store.db().endpoints_of(owner)? {
        if leads_out(&store.db().network_of(&row)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether it leads further than to itself.
pub fn leads_out(network: &NetworkRow) -> bool {
    !network.settings.internal
}

impl Attached {
    /// Adds one that is there, by position as all are. What it carries the others do not.
    pub fn add(&mut self, endpoint: Endpoint) {
        if !endpoint.interface.routes.is_empty() {
            self.endpoints.iter_mut().for_each(|other| other.interface.routes.clear());
        }
        self.endpoints.push(endpoint);
        self.endpoints.sort_by_key(|endpoint| endpoint.row.position);
        self.aim();
    }

    fn relay(
        &mut self,
        bound: Bound,
        place: Place,
        start: impl FnOnce(Place, Work) -> Option<JoinHandle<()>>,
    ) -> Result<(), NetworkError> {
        if !bound.is_empty() {
            let (ipv4, ipv6) = self.target();
            let relay = bound.relay(ipv4, ipv6, |work| start(place, work));
            self.relay = Some(relay.map_err(NetworkError::Relay)?);
        }
        Ok(())
    }

    /// Through which goes what leads out, and comes what is published: the first that leads anywhere.
    pub fn carrier(&self) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| leads_out(&endpoint.network))
    }

    fn target(&self) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        let live = self.carrier().and_then(|endpoint| endpoint.row.live.as_ref());
        live.map_or((None, None), |live| (live.ipv4, live.ipv6))
    }

    /// Published ports lead to where they should, after a change.
    pub fn aim(&self) {
        if let Some(relay) = &self.relay {
            let (ipv4, ipv6) = self.target();
            relay.aim(ipv4, ipv6);
        }
    }
}

impl Plug {
    fn new(row: &EndpointRow, tap: OwnedFd) -> Plug {
        Plug { device: row.position, tap, rates: row.settings.rates }
    }
}

impl Endpoint {
    fn new(row: EndpointRow, network: NetworkRow, side: Side<'_>, carries: bool) -> Endpoint {
        let interface = interface(&row, &network, side, carries);
        Endpoint { row, network, interface }
    }

    /// The routes of one that carries.
    pub fn default_routes(&self) -> Vec<Route> {
        let pools = self.network.settings.pools.iter();
        let has = |pool: &&Pool| self.interface.addresses.iter().any(|own| pool.subnet.contains(own.address));
        pools.filter(has).filter_map(default_route).collect()
    }
}

/// What the agent makes of it.
fn interface(row: &EndpointRow, network: &NetworkRow, side: Side<'_>, carries: bool) -> Interface {
    let live = row.live.clone();
    let mac = live.as_ref().map_or(Mac([0; 6]), |live| live.mac);
    let mut interface = Interface {
        name: format!("eth{}", row.position),
        device_mac: match side {
            Side::Machine => device_mac(row.position),
            Side::Namespace(_) => mac,
        },
        mac,
        mtu: network.settings.mtu,
        addresses: Vec::new(),
        routes: Vec::new(),
    };
    let (ipv4, ipv6) = live.map_or((None, None), |live| (live.ipv4, live.ipv6));
    for pool in &network.settings.pools {
        let address = if pool.subnet.is_ipv4() { ipv4.map(IpAddr::V4) } else { ipv6.map(IpAddr::V6) };
        let own = address.and_then(|address| Prefix::new(address, pool.subnet.length));
        if let Some(own) = own {
            interface.addresses.push(own);
            interface.routes.extend(carries.then(|| default_route(pool)).flatten());
        }
    }
    interface
}

fn default_route(pool: &Pool) -> Option<Route> {
    let anywhere = match pool.subnet.address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Some(Route { destination: Prefix::new(anywhere, 0)?, gateway: Some(pool.gateway) })
}
