//! What networks, endpoints and published ports are, as rows and configs keep them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hull_guest::protocol::{Mac, Prefix};
/// Most that an endpoint carries in a second, as its container sees the direction.
pub use hull_vmm::config::NetLimits as Rates;
use serde::{Deserialize, Serialize};

/// Docker's names for the networks that are always there.
pub const BRIDGE: &str = "bridge";
pub const HOST: &str = "host";
pub const NONE: &str = "none";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    Bridge,
    Macvlan,
    Host,
    /// Docker's word for the driver of "none".
    Null,
}

impl Driver {
    pub const fn as_str(self) -> &'static str {
        match self {
            Driver::Bridge => "bridge",
            Driver::Macvlan => "macvlan",
            Driver::Host => "host",
            Driver::Null => "null",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Driver {
    type Err = String;

    fn from_str(word: &str) -> Result<Driver, String> {
        [Driver::Bridge, Driver::Macvlan, Driver::Host, Driver::Null]
            .into_iter()
            .find(|driver| driver.as_str() == word)
            .ok_or_else(|| format!("no network driver: {word}"))
    }
}

/// Addresses a network hands out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    pub subnet: Prefix,
    pub gateway: IpAddr,
    /// The user chose the subnet, and may choose addresses of it.
    #[serde(default)]
    pub given: bool,
    /// The part of the subnet that addresses are chosen from, where it is not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Prefix>,
    /// Names of addresses that are somebody else's (`--aux-address`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, IpAddr>,
}

/// What a network's row keeps as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSettings {
    /// At most one of IPv4 and one of IPv6.
    #[serde(default)]
    pub pools: Vec<Pool>,
    #[serde(default)]
    pub ipv6: bool,
    /// Reaches nothing but itself.
    #[serde(default)]
    pub internal: bool,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `--opt`, by docker's names.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// macvlan's device on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Devices' MTU, where it is not the kernel's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// What an endpoint's row keeps as JSON: how it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSettings {
    /// The network's name when it was connected, for when that is gone.
    #[serde(default)]
    pub network: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Other containers on the network by a name of one's own: what it is here called, whose it is.
    #[serde(default)]
    pub links: Vec<Link>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    #[serde(default, skip_serializing_if = "Rates::is_empty")]
    pub rates: Rates,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other container's id.
    pub container: String,
    pub alias: String,
}

/// How a sandbox is connected: part of a container's config, or a pod's. Which networks it is on is told by
/// its endpoints' rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Networking {
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub dns: Dns,
    /// `--add-host`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<(String, HostAddress)>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<Publish>,
    /// `-P`: all of `expose` that `publish` does not name, at ports that are free.
    #[serde(default)]
    pub publish_all: bool,
    /// `--expose` and the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<Port>,
    /// What the sandbox may reach; none: all that its networks can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing but a loopback device. Also how containers of releases before networks are read.
    #[default]
    None,
    /// The host's own; namespace mode only.
    Host,
    /// What its endpoints' rows say.
    Networks,
}

impl Mode {
    /// Docker's name of the network, where that is no endpoint's.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Mode::None => Some(NONE),
            Mode::Host => Some(HOST),
            Mode::Networks => None,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostAddress {
    Address(IpAddr),
    /// The host as the sandbox's first network sees it.
    HostGateway,
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostAddress::Address(address) => address.fmt(f),
            HostAddress::HostGateway => f.write_str("host-gateway"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(word: &str) -> Result<Protocol, String> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .find(|protocol| word.eq_ignore_ascii_case(protocol.as_str()))
            .ok_or_else(|| format!("no protocol: {word}"))
    }
}

/// A container's port, as `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    pub number: u16,
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.as_str())
    }
}

/// One container port of `-p`, ranges taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    pub container: Port,
    /// None: all of the host's addresses, IPv4 and IPv6.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// First and last that will do; none: any that is free.
    #[serde(default)]
    pub host: Option<(u16, u16)>,
}

/// `--egress`: what may be reached; nothing else may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    #[serde(default)]
    pub allow: Vec<Allowed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    pub host: AllowedHost,
    /// None: all.
    #[serde(default)]
    pub port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AllowedHost {
    /// The addresses that the name has when it is asked for, and as long as the answer says. `*.` in front:
    /// all names below.
    Name(String),
    Prefix(Prefix),
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRow {
    /// 64 hexadecimal digits.
    pub id: String,
    pub name: String,
    pub driver: Driver,
    /// Nanoseconds since 1970.
    pub created: i64,
    pub settings: NetworkSettings,
}

/// A sandbox's place on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRow {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The network's id.
    pub network: String,
    /// The sandbox's id, a container's or a pod's.
    pub owner: String,
    /// Its number among the owner's: interface `eth<position>`, and a machine's slot.
    pub position: u8,
    pub settings: EndpointSettings,
    /// There as long as the sandbox is up.
    pub live: Option<Live>,
}

/// What an endpoint has while its sandbox is up. One of the addresses at least, but on a network of a driver
/// that hands out none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    pub mac: Mac,
}

impl Live {
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }
}

/// Of two addresses the one of the same family as `address`, if it is there, else the other.
pub fn of_family(address: IpAddr, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Option<IpAddr> {
    let (ipv4, ipv6) = (ipv4.map(IpAddr::V4), ipv6.map(IpAddr::V6));
    if address.is_ipv4() { ipv4.or(ipv6) } else { ipv6.or(ipv4) }
}

/// A published port as it was bound, as long as the sandbox is up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishedRow {
    /// The sandbox's id.
    pub owner: String,
    pub container: Port,
    /// 0.0.0.0 or :: for all.
    pub address: IpAddr,
    pub host_port: u16,
}
