//! What the kernel of the host does with packets of sandboxes: nftables.
//!
//! Two tables, named after the [`Instance`], hold fixed chains ([`bridge`], [`inet`]). Sets and maps gain
//! and lose elements as endpoints come and go, all of one endpoint in one transaction; each element says in
//! its comment whose it is, an endpoint's port or a network's bridge, so that what is left over is found
//! without knowing what it was made for.
//!
//! - Frames that enter through a port are checked in table `bridge`: addresses that are not its own, VLAN
//!   tags, router advertisements and answers of DHCP servers end there.
//! - Packets that the host receives or routes are checked in table `inet`: networks reach the outside but
//!   not each other, of the host their gateway and what is published.
//! - Endpoints with an egress policy have a chain of their own in table `inet`, and table `bridge` leads all
//!   their packets there, those to their neighbours too ([`egress`]).
//!
//! Other firewalls on the same hooks still have their say: see [`super::foreign`].
//!
//! Callers hold the lock of `<run>/network.lock`.

mod bridge;
mod egress;
mod elements;
mod inet;
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;

use hull_guest::netlink::nft::{Batch, Family, Set, Table, table_comment};
use hull_guest::netlink::{Errno, NetlinkError, Socket};
use hull_guest::protocol::{Mac, Prefix};

use super::instance::Instance;
use super::model::Protocol;
use super::place::Place;

pub use egress::{Allow, EgressRules};

/// Each of hull's bridges has it: the networks never meet, and one address lets a fixed rule lead frames to
/// the host whatever bridge they are on.
pub const BRIDGE_MAC: Mac = Mac([0x02, 0x68, 0x75, 0x6c, 0x62, 0x72]);

/// Changes with the tables' chains and sets, so that those of another release are made anew.
const LAYOUT: &str = "layout 1";

/// A network as its packets are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRules {
    pub bridge: String,
    pub subnets: Vec<Prefix>,
    /// The bridge's own addresses.
    pub gateways: Vec<IpAddr>,
    /// Reaches nothing outside, nor the host.
    pub internal: bool,
}

/// An endpoint as its packets are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRules {
    /// The host's end: the device that is a port of the bridge.
    pub port: String,
    pub mac: Mac,
    pub addresses: Vec<IpAddr>,
    pub published: Vec<PublishedRule>,
    /// None: whatever the network reaches.
    pub egress: Option<EgressRules>,
}

/// A port of the host's that leads to an endpoint. With addresses of different families the packets are
/// left to the supervisor, who listens on the host's port and relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedRule {
    pub protocol: Protocol,
    /// Unspecified: all of the host's of that family.
    pub host: IpAddr,
    pub host_port: u16,
    pub container: IpAddr,
    pub container_port: u16,
}

#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    #[error("cannot {what}")]
    Netlink {
        what: String,
        #[source]
        source: NetlinkError,
    },
    #[error("cannot enter the network namespace of the bridges")]
    Place(#[source] io::Error),
    #[error(
        "nftables are not there: the kernel lacks CONFIG_NF_TABLES with the families inet and bridge, or its modules cannot be loaded"
    )]
    Unsupported(#[source] NetlinkError),
    #[error("nftables may not be changed: it takes CAP_NET_ADMIN")]
    Forbidden(#[source] NetlinkError),
}

pub type Result<T> = std::result::Result<T, FirewallError>;

/// The tables of one instance in one place.
#[derive(Debug)]
pub struct Firewall {
    socket: Socket,
    table: String,
}

impl Firewall {
    pub fn open(place: &Place, instance: &Instance) -> Result<Firewall> {
        let socket = place
            .enter(|| Socket::open(hull_guest::netlink::Protocol::Netfilter))
            .map_err(FirewallError::Place)?
            .map_err(failed(|| "open a netlink socket".into()))?;
        Ok(Firewall { socket, table: instance.table() })
    }

    fn inet(&self) -> Table<'_> {
        Table::new(Family::Inet, &self.table)
    }

    fn bridge(&self) -> Table<'_> {
        Table::new(Family::Bridge, &self.table)
    }

    /// Whether the tables are there as this release makes them. If not, [`Firewall::repair`] is due: others
    /// may have flushed them.
    pub fn is_there(&mut self) -> Result<bool> {
        for family in [Family::Inet, Family::Bridge] {
            let table = Table::new(family, &self.table);
            match table_comment(&mut self.socket, table) {
                Ok(Some(comment)) if comment == LAYOUT => {}
                Ok(_) => return Ok(false),
                Err(error) if error.is(Errno::NOENT) => return Ok(false),
                Err(error) => return Err(failed(|| format!("look for the table {}", self.table))(error)),
            }
        }
        Ok(true)
    }

    /// Whether the rules of the network with this bridge are there.
    pub fn knows(&mut self, bridge: &str) -> Result<bool> {
        elements::names_bridge(&mut self.socket, self.table.as_str(), bridge)
    }

    /// Adds networks and endpoints; such that are there already are brought up to date. The tables must be
    /// there.
    pub fn apply(&mut self, networks: &[NetworkRules], endpoints: &[EndpointRules]) -> Result<()> {
        let what = || match endpoints {
            [one] => format!("add the rules of {}", one.port),
            _ => "add rules".to_owned(),
        };
        let mut batch = Batch::new();
        self.add(&mut batch, networks, endpoints);
        match batch.commit(&mut self.socket) {
            // Something is there under one of the names, as it was, or left over from others.
            Err(error) if error.is(Errno::EXIST) || error.is(Errno::BUSY) => {}
            outcome => return outcome.map_err(failed(what)),
        }
        let mut batch = Batch::new();
        self.make_way(&mut batch, networks, endpoints)?;
        self.add(&mut batch, networks, endpoints);
        batch.commit(&mut self.socket).map_err(failed(what))
    }

    /// Makes the tables with exactly these networks and endpoints, in one step.
    pub fn repair(&mut self, networks: &[NetworkRules], endpoints: &[EndpointRules]) -> Result<()> {
        let mut batch = Batch::new();
        batch.destroy_table(self.inet()).destroy_table(self.bridge());
        inet::lay_out(&mut batch, self.inet());
        bridge::lay_out(&mut batch, self.bridge());
        self.add(&mut batch, networks, endpoints);
        batch.commit(&mut self.socket).map_err(failed(|| format!("make the nftables tables {}", self.table)))
    }

    /// Takes back the rules of all ports and bridges but those that `stays` knows.
    pub fn sweep(&mut self, stays: impl Fn(&str) -> bool) -> Result<()> {
        let mut batch = Batch::new();
        self.delete_owned(&mut batch, &stays)?;
        egress::delete(&mut batch, &mut self.socket, &self.table, &stays)?;
        batch.commit(&mut self.socket).map_err(failed(|| "take back rules".into()))
    }

    /// Removes the tables; no error where there are none.
    pub fn remove(&mut self) -> Result<()> {
        let mut batch = Batch::new();
        batch.destroy_table(self.inet()).destroy_table(self.bridge());
        batch
            .commit(&mut self.socket)
            .map_err(failed(|| format!("remove the nftables tables {}", self.table)))
    }

    fn add(&self, batch: &mut Batch, networks: &[NetworkRules], endpoints: &[EndpointRules]) {
        for network in networks {
            elements::add_network(batch, self.inet(), network);
        }
        for endpoint in endpoints {
            elements::add_endpoint(batch, self.inet(), self.bridge(), endpoint);
            if let Some(rules) = &endpoint.egress {
                egress::add(batch, self.inet(), self.bridge(), endpoint, rules);
            }
        }
    }
}

/// A set of a table of ours.
fn set<'a>(table: Table<'a>, shape: &Set<'a>) -> Set<'a> {
    Set { table, ..*shape }
}

pub(super) fn failed(what: impl FnOnce() -> String) -> impl FnOnce(NetlinkError) -> FirewallError {
    move |source| match source.errno {
        // Without the subsystem nfnetlink answers EINVAL, without the family EAFNOSUPPORT, and EOPNOTSUPP
        // where an expression is missing.
        Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::OPNOTSUPP => FirewallError::Unsupported(source),
        Errno::PERM | Errno::ACCESS => FirewallError::Forbidden(source),
        _ => FirewallError::Netlink { what: what(), source },
    }
}
