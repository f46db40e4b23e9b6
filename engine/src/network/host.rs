//! The host's side of networks: devices and rules, as the rows want them.
//!
//! One process at a time has a [`Host`]. What it is asked for may be there already, whole or in part.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{BorrowedFd, OwnedFd};

use hull_guest::netlink::{NetlinkError, conntrack};
use nix::fcntl::FlockArg;

use super::attach::leads_out;
use super::device::{DeviceError, Devices, Port};
use super::egress::{self, Log, LogError};
use super::firewall::{Allow, EndpointRules, Firewall, FirewallError, NetworkRules, PublishedRule};
use super::foreign;
use super::model::{BRIDGE, Driver, EndpointRow, NetworkRow, PublishedRow, of_family};
use super::place::Place;
use super::sysctl::{Forwarding, SysctlError};
use super::{Instance, bridge_name, port_name};
use crate::rootless::{self, RootlessError};
use crate::store::{self, FileLock, Store};

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("The network of this machine cannot be set up (--network none goes without)")]
    Device(#[from] DeviceError),
    #[error("The packet filter of this machine cannot be set up (--network none goes without)")]
    Firewall(#[from] FirewallError),
    #[error("The network of this machine cannot be set up (--network none goes without)")]
    Sysctl(#[from] SysctlError),
    #[error("Failed to have the kernel forget a sandbox's connections")]
    Connections(#[source] NetlinkError),
    #[error(transparent)]
    Rootless(#[from] RootlessError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("Network {0} has the driver macvlan, on which no egress policy can be enforced")]
    Unenforceable(String),
    #[error("Network {0} has no device to build on")]
    NoParent(String),
    #[error("Network {0} is of a driver that containers in virtual machines cannot use")]
    NotInMachines(String),
}

pub type Result<T, E = HostError> = std::result::Result<T, E>;

/// Where the sandbox's side of an endpoint goes.
#[derive(Debug, Clone, Copy)]
pub enum Side<'a> {
    /// Into a virtual machine, as a tap.
    Machine,
    /// Into this network namespace, as one end of a veth pair.
    Namespace(BorrowedFd<'a>),
}

/// The host's network, and the right to change it.
pub struct Host<'a> {
    store: &'a Store,
    place: Place,
    instance: Instance,
    devices: Devices,
    firewall: Firewall,
    _alone: FileLock,
}

/// The network namespace that a store's networks are in.
pub fn place(store: &Store) -> Result<Place> {
    let own = rootless::network_namespace(store.paths().run())?;
    Ok(own.map_or(Place::Current, Place::namespace))
}

impl<'a> Host<'a> {
    pub fn lock(store: &'a Store) -> Result<Host<'a>> {
        let alone = FileLock::wait(&store.paths().network_lock(), FlockArg::LockExclusive)?;
        let (place, instance) = (place(store)?, Instance::of_root(store.paths().root()));
        let devices = Devices::open(&place, &instance)?;
        let firewall = Firewall::open(&place, &instance)?;
        Ok(Host { store, place, instance, devices, firewall, _alone: alone })
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Makes an endpoint whose addresses are in its row, and its network if it is the first there. The tap,
    /// for a machine.
    pub fn connect(
        &mut self,
        row: &EndpointRow,
        network: &NetworkRow,
        side: Side<'_>,
    ) -> Result<Option<OwnedFd>> {
        let name = port_name(&row.id);
        let Some(live) = &row.live else {
            return Err(store::Error::NotFound { what: "address of endpoint", name }.into());
        };
        if network.driver == Driver::Macvlan {
            if self.store.db().egress_group(&row.owner)?.is_some() {
                return Err(HostError::Unenforceable(network.name.clone()));
            }
            return self.connect_directly(&name, live.mac, network, side).map(|()| None);
        }
        let bridge = self.bridge(network);
        self.network_up(network, &bridge)?;
        // Before there is a port that frames could enter by.
        self.judge(row, network)?;
        if self.store.db().egress_group(&row.owner)?.is_some() {
            self.forget_connections(row)?;
        }
        let port = Port { name: &name, bridge: &bridge, mac: live.mac, mtu: network.settings.mtu };
        let tap = match side {
            Side::Machine => Some(self.devices.add_tap(&port)?),
            Side::Namespace(netns) => {
                self.devices.add_veth(&port, &name, live.mac, netns)?;
                None
            }
        };
        Ok(tap)
    }

    /// macvlan has no bridge of hull's, and what passes it no rules: as docker's.
    fn connect_directly(
        &mut self,
        name: &str,
        mac: hull_guest::protocol::Mac,
        network: &NetworkRow,
        side: Side<'_>,
    ) -> Result<()> {
        let Side::Namespace(netns) = side else { return Err(HostError::NotInMachines(network.name.clone())) };
        let parent = network.settings.parent.as_deref();
        let parent = parent.ok_or_else(|| HostError::NoParent(network.name.clone()))?;
        Ok(self.devices.add_macvlan(name, parent, mac, netns)?)
    }

    fn network_up(&mut self, network: &NetworkRow, bridge: &str) -> Result<()> {
        let rules = rules_of_network(network, bridge);
        let length = |gateway: &IpAddr| {
            let pool = network.settings.pools.iter().find(|pool| pool.gateway == *gateway)?;
            hull_guest::protocol::Prefix::new(*gateway, pool.subnet.length)
        };
        let addresses: Vec<_> = rules.gateways.iter().filter_map(length).collect();
        let made = self.devices.bridge_up(&super::bridge::Bridge {
            name: bridge,
            addresses: &addresses,
            mtu: network.settings.mtu,
        })?;
        // Others may have come since the bridge was made.
        for foreign in foreign::admit(&self.place, &self.instance.table(), bridge)? {
            if made {
                eprintln!("{foreign}");
            }
        }
        // It looks only, where that is done: whoever made the bridge may have been killed before.
        if !network.settings.internal {
            let ipv6 = rules.subnets.iter().any(|subnet| !subnet.is_ipv4());
            Forwarding::of(&self.place, self.store.paths().run()).enable(ipv6)?;
        }
        Ok(())
    }

    /// Puts the rules of an endpoint in force: its own and its network's; all that there are if somebody has
    /// removed them.
    pub fn judge(&mut self, row: &EndpointRow, network: &NetworkRow) -> Result<()> {
        if !self.firewall.is_there()? {
            let (networks, endpoints) = self.all_rules()?;
            return Ok(self.firewall.repair(&networks, &endpoints)?);
        }
        let bridge = self.bridge(network);
        // Added in one step, they are there as a whole: to try again would have the kernel take a transaction
        // back, for which it waits until all CPUs have passed by.
        let known = self.firewall.knows(&bridge)?;
        let networks: Vec<_> = (!known).then(|| rules_of_network(network, &bridge)).into_iter().collect();
        let mut own = self.rules_of_owner(&row.owner)?;
        own.retain(|rules| rules.port == port_name(&row.id));
        Ok(self.firewall.apply(&networks, &own)?)
    }

    /// Has a sandbox's refused connections told to a group of its own, from which on it has a policy.
    pub fn listen(&mut self, owner: &str) -> Result<Log> {
        let log = self.place.enter(|| Log::open(owner)).map_err(LogError::Enter)??;
        self.store.db().set_egress_group(owner, log.group())?;
        Ok(log)
    }

    /// Lets a sandbox with a policy begin to talk to these, from all of its endpoints.
    pub fn open(&mut self, owner: &str, destinations: &[Allow]) -> Result<()> {
        let db = self.store.db();
        for row in db.endpoints_of(owner)?.iter().filter(|row| row.live.is_some()) {
            let network = db.network(&row.network)?;
            if network.driver != Driver::Bridge {
                continue;
            }
            if !self.firewall.is_there()? {
                self.judge(row, &network)?;
            }
            self.firewall.allow(&port_name(&row.id), destinations)?;
        }
        Ok(())
    }

    /// Takes an endpoint back, whose addresses its row still has: it gives them up when this is done.
    pub fn disconnect(&mut self, row: &EndpointRow) -> Result<()> {
        let name = port_name(&row.id);
        let network = self.store.db().network_of(row)?;
        let others = self.store.db().live_beside(row)?;
        let is_last = network.driver == Driver::Bridge && !others.on_its_network;
        let bridge = is_last.then(|| self.bridge(&network));
        self.devices.remove(&name)?;
        if !self.store.db().published_of(&row.owner)?.is_empty() {
            self.forget_connections(row)?;
        }
        if !others.anywhere {
            self.firewall.remove()?;
        } else if self.firewall.is_there()? {
            self.firewall.sweep(|owner| owner != name && bridge.as_deref() != Some(owner))?;
        }
        if let Some(bridge) = bridge {
            foreign::retract(&self.place, &bridge)?;
            self.devices.remove_bridge(&bridge)?;
        }
        if others.anywhere { Ok(()) } else { self.as_it_was() }
    }

    /// Who gets addresses goes on with nothing of what their last owner began, past a policy; nor with what
    /// clients of published ports did. Not for all: the kernel looks through every connection that it knows.
    fn forget_connections(&self, row: &EndpointRow) -> Result<()> {
        let Some(live) = &row.live else { return Ok(()) };
        let mut socket = self.place.enter(conntrack::open).map_err(DeviceError::Place)?;
        let socket = socket.as_mut().map_err(|error| HostError::Connections(error.clone()))?;
        for address in live.addresses() {
            conntrack::forget(socket, address).map_err(HostError::Connections)?;
        }
        Ok(())
    }

    /// Nobody is on any network: neither does the host route packets for them.
    fn as_it_was(&mut self) -> Result<()> {
        // Another store's sandboxes may need it, which found it switched on.
        if self.devices.others_are_there()? {
            return Ok(());
        }
        Ok(Forwarding::of(&self.place, self.store.paths().run()).restore()?)
    }

    /// Removes what no row knows: of supervisors that were killed between a device and its row, or of a
    /// store that is gone.
    pub fn sweep(&mut self) -> Result<()> {
        let live = self.store.db().live_endpoints()?;
        let mut known: HashSet<String> = live.iter().map(|row| port_name(&row.id)).collect();
        for network in self.store.db().networks()? {
            if live.iter().any(|row| row.network == network.id) {
                known.insert(self.bridge(&network));
            }
        }
        for gone in self.devices.sweep(|name| known.contains(name))? {
            foreign::retract(&self.place, &gone)?;
        }
        if live.is_empty() {
            self.firewall.remove()?;
            self.as_it_was()?;
        } else if self.firewall.is_there()? {
            self.firewall.sweep(|name| known.contains(name))?;
        }
        Ok(())
    }

    fn bridge(&self, network: &NetworkRow) -> String {
        if network.name == BRIDGE { self.instance.default_bridge() } else { bridge_name(&network.id) }
    }

    fn all_rules(&self) -> Result<(Vec<NetworkRules>, Vec<EndpointRules>)> {
        let live = self.store.db().live_endpoints()?;
        let networks = self.store.db().networks()?;
        let used = networks.iter().filter(|network| {
            network.driver == Driver::Bridge && live.iter().any(|row| row.network == network.id)
        });
        let networks = used.map(|network| rules_of_network(network, &self.bridge(network))).collect();
        let owners: HashSet<&str> = live.iter().map(|row| row.owner.as_str()).collect();
        let mut endpoints = Vec::new();
        for owner in owners {
            endpoints.extend(self.rules_of_owner(owner)?);
        }
        Ok((networks, endpoints))
    }

    /// Of all that it has on bridges, by position.
    fn rules_of_owner(&self, owner: &str) -> Result<Vec<EndpointRules>> {
        let db = self.store.db();
        let egress = egress::rules_of(self.store, owner)?;
        let (mut all, mut carried) = (Vec::new(), false);
        for row in db.endpoints_of(owner)? {
            let Some(live) = &row.live else { continue };
            let network = db.network(&row.network)?;
            if network.driver != Driver::Bridge {
                carried |= leads_out(&network);
                continue;
            }
            let published = match leads_out(&network) && !std::mem::replace(&mut carried, true) {
                true => db.published_of(owner)?,
                false => Vec::new(),
            };
            let rule = |row: &PublishedRow| PublishedRule {
                protocol: row.container.protocol,
                host: row.address,
                host_port: row.host_port,
                // Of the other family only the relay reaches it.
                container: of_family(row.address, live.ipv4, live.ipv6)
                    .unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
                container_port: row.container.number,
            };
            all.push(EndpointRules {
                port: port_name(&row.id),
                mac: live.mac,
                addresses: live.addresses().collect(),
                published: published.iter().map(rule).collect(),
                egress: egress.clone(),
            });
        }
        Ok(all)
    }
}

fn rules_of_network(network: &NetworkRow, bridge: &str) -> NetworkRules {
    let pools = &network.settings.pools;
    NetworkRules {
        bridge: bridge.to_string(),
        subnets: pools.iter().map(|pool| pool.subnet).collect(),
        gateways: pools.iter().map(|pool| pool.gateway).collect(),
        internal: network.settings.internal,
    }
}
