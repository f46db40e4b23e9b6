//! Bridges, and how devices become their ports.

use hull_guest::netlink::Errno;
use hull_guest::netlink::route::{Link, PortFlags};
use hull_guest::protocol::Prefix;

use super::device::{DeviceError, Devices, Port, Result};
use super::firewall::BRIDGE_MAC;
use super::sysctl;

/// A network's bridge as it is to be.
#[derive(Debug, Clone, Copy)]
pub struct Bridge<'a> {
    pub name: &'a str,
    /// The host's own on it, with their networks' lengths.
    pub addresses: &'a [Prefix],
    pub mtu: Option<u32>,
}

impl Devices {
    /// Makes the bridge, or finds it; true if it had to be made.
    pub fn bridge_up(&mut self, bridge: &Bridge) -> Result<bool> {
        let (link, made) = match self.route.link_by_name(bridge.name)? {
            Some(link) => (link, false),
            None => match self.route.add_bridge(bridge.name, Some(BRIDGE_MAC), bridge.mtu) {
                Err(error) if !error.is(Errno::EXIST) => return Err(error.into()),
                made => (self.known_bridge(bridge.name)?, made.is_ok()),
            },
        };
        if link.kind.as_deref() != Some("bridge") || (!made && link.alias.as_deref() != Some(&self.alias)) {
            return Err(DeviceError::Taken { name: bridge.name.to_owned() });
        }
        if made && let Err(error) = self.settle(link.index, bridge) {
            // What is half made would pass for a whole one.
            let _ = self.route.delete_link(bridge.name);
            return Err(error);
        }
        for address in bridge.addresses {
            self.route.add_address(link.index, *address)?;
        }
        if !link.up {
            self.route.set_up(link.index)?;
        }
        Ok(made)
    }

    fn known_bridge(&mut self, name: &str) -> Result<Link> {
        self.route.link_by_name(name)?.ok_or_else(|| DeviceError::Missing { name: name.to_owned() })
    }

    fn settle(&mut self, index: u32, bridge: &Bridge) -> Result<()> {
        self.route.set_alias(index, &self.alias)?;
        let ipv6 = bridge.addresses.iter().any(|prefix| prefix.address.is_ipv6());
        self.place.enter(|| sysctl::of_bridge(bridge.name, ipv6)).map_err(DeviceError::Place)??;
        Ok(())
    }

    /// Makes a device that was just made a port of its bridge, and brings it up. The firewall must know the
    /// port by then.
    ///
    /// Its endpoint's address is told to the bridge instead of learnt, so nobody else draws its frames, and
    /// frames to addresses that nobody has go nowhere.
    pub(super) fn join(&mut self, port: &Port) -> Result<()> {
        let (index, bridge) = (self.index(port.name)?, self.index(port.bridge)?);
        self.place.enter(|| sysctl::of_port(port.name)).map_err(DeviceError::Place)??;
        self.route.set_alias(index, &self.alias)?;
        self.route.set_master(index, Some(bridge))?;
        self.route
            .set_port(index, PortFlags { learning: false, unicast_flood: false, ..PortFlags::default() })?;
        self.route.add_port_address(index, port.mac)?;
        self.route.set_up_without_arp(index)?;
        Ok(())
    }
}
