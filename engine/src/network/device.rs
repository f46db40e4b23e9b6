//! Network devices of the host: what all kinds of them have in common.

use std::io;

use hull_guest::netlink::route::{RouteError, Rtnetlink};
use hull_guest::protocol::Mac;

use super::firewall::BRIDGE_MAC;
use super::instance::Instance;
use super::place::Place;
use super::sysctl::SysctlError;

#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("cannot enter the network namespace of the bridges")]
    Place(#[source] io::Error),
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    #[error("no tap can be made without /dev/net/tun: `modprobe tun`, or let this container have the device")]
    NoTun(#[source] io::Error),
    #[error("cannot make the tap {name}")]
    Tap {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("{name} is no bridge of hull's: another device has the name")]
    Taken { name: String },
    #[error("there is no device {name}")]
    Missing { name: String },
}

pub type Result<T> = std::result::Result<T, DeviceError>;

/// A device that is to be a port of a bridge: the host's end of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Port<'a> {
    pub name: &'a str,
    pub bridge: &'a str,
    /// The endpoint's, which is behind the port.
    pub mac: Mac,
    pub mtu: Option<u32>,
}

/// Makes and removes devices in one place, for one instance.
#[derive(Debug)]
pub struct Devices {
    pub(super) route: Rtnetlink,
    pub(super) place: Place,
    pub(super) alias: String,
}

impl Devices {
    pub fn open(place: &Place, instance: &Instance) -> Result<Devices> {
        let route = place.enter(Rtnetlink::open).map_err(DeviceError::Place)??;
        Ok(Devices { route, place: place.clone(), alias: instance.alias() })
    }

    /// False: there was none.
    pub fn remove(&mut self, name: &str) -> Result<bool> {
        Ok(self.route.delete_link(name)?)
    }

    /// Removes a bridge if it is this store's.
    pub fn remove_bridge(&mut self, name: &str) -> Result<()> {
        let Some(link) = self.route.link_by_name(name)? else { return Ok(()) };
        // One that was about to be made has no alias yet.
        let ours = link.alias.as_deref().map_or(link.mac == Some(BRIDGE_MAC), |alias| alias == self.alias);
        if ours && link.kind.as_deref() == Some("bridge") {
            self.route.delete_link(name)?;
        }
        Ok(())
    }

    /// Whether there are devices of other stores' sandboxes.
    pub fn others_are_there(&mut self) -> Result<bool> {
        let others = |alias: &str| alias != self.alias && (alias == "hull" || alias.starts_with("hull-"));
        Ok(self.route.links()?.iter().any(|link| link.alias.as_deref().is_some_and(others)))
    }

    pub(super) fn index(&mut self, name: &str) -> Result<u32> {
        let link = self.route.link_by_name(name)?;
        link.map(|link| link.index).ok_or_else(|| DeviceError::Missing { name: name.to_owned() })
    }
}
