//! Network devices.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::{NLM_F_CREATE, NLM_F_EXCL, Result, Rtnetlink, failed, number, text};
use crate::netlink::{Message, attributes};
use crate::protocol::Mac;

pub(super) const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

/// Attributes of linux/if_link.h.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_IFALIAS: u16 = 20;
pub(super) const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_BRIDGE: u32 = 4;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const AF_INET6: u16 = 10;
/// Counters are the greater part of what is told of a device otherwise.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 1 << 6;
const IFF_NOARP: u32 = 1 << 7;
const IFF_LOWER_UP: u32 = 1 << 16;

/// A device as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// None: no Ethernet device.
    pub mac: Option<Mac>,
    pub up: bool,
    pub carrier: bool,
    /// The kernel has taken note of the carrier, and sends (RFC 2863's operational state).
    pub running: bool,
    /// Index of the bridge that it is a port of.
    pub master: Option<u32>,
    /// `bridge`, `veth`, `tun`; None: hardware, or the loopback device.
    pub kind: Option<String>,
    pub mtu: u32,
    /// Free text about it.
    pub alias: Option<String>,
}

/// A pair of devices, what goes into the one comes out of the other.
#[derive(Debug, Clone, Copy)]
pub struct Veth<'a> {
    pub name: &'a str,
    pub mac: Option<Mac>,
    pub peer_name: &'a str,
    pub peer_mac: Option<Mac>,
    /// Where the peer is made; None: in the same namespace.
    pub peer_netns: Option<BorrowedFd<'a>>,
    pub mtu: Option<u32>,
}

impl Rtnetlink {
    pub fn link_by_name(&mut self, name: &str) -> Result<Option<Link>> {
        let mut message = Message::new(RTM_GETLINK, 0, &header(0, 0, 0));
        message.attribute_str(IFLA_IFNAME, name);
        self.one_link(message, || format!("look for the device {name}"))
    }

    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>> {
        let message = Message::new(RTM_GETLINK, 0, &header(index, 0, 0));
        self.one_link(message, || format!("look for device number {index}"))
    }

    /// The first with this address.
    pub fn link_by_mac(&mut self, mac: Mac) -> Result<Option<Link>> {
        Ok(self.links()?.into_iter().find(|link| link.mac == Some(mac)))
    }

    pub fn links(&mut self) -> Result<Vec<Link>> {
        let mut message = Message::new(RTM_GETLINK, 0, &header(0, 0, 0));
        message.attribute_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        let mut links = Vec::new();
        let listed = self.socket.dump(message, |kind, body| {
            links.extend((kind == RTM_NEWLINK).then(|| parse(body)).flatten());
        });
        listed.map_err(failed(|| "list network devices".to_owned()))?;
        Ok(links)
    }

    fn one_link(&mut self, mut message: Message, what: impl FnOnce() -> String) -> Result<Option<Link>> {
        message.attribute_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        match self.socket.get(message) {
            Ok(found) => Ok(found.and_then(|(_, body)| parse(&body))),
            Err(error) if error.is(Errno::NODEV) => Ok(None),
            Err(error) => Err(failed(what)(error)),
        }
    }

    /// Fails with EEXIST if one of the names is taken.
    pub fn add_veth(&mut self, veth: &Veth<'_>) -> Result<()> {
        let mut message = new_link(veth.name, veth.mac, veth.mtu);
        message.nested(IFLA_LINKINFO, |info| {
            info.attribute_str(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    peer.raw(&header(0, 0, 0));
                    describe(peer, veth.peer_name, veth.peer_mac, veth.mtu);
                    if let Some(namespace) = veth.peer_netns {
                        peer.attribute_u32(IFLA_NET_NS_FD, descriptor(namespace));
                    }
                });
            });
        });
        self.request(message, || format!("make the devices {} and {}", veth.name, veth.peer_name))
    }

    /// A device of its own address on `parent`; those of one parent reach each other (mode `bridge`).
    pub fn add_macvlan(
        &mut self,
        name: &str,
        parent: u32,
        mac: Option<Mac>,
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let mut message = new_link(name, mac, None);
        message.attribute_u32(IFLA_LINK, parent);
        if let Some(namespace) = netns {
            message.attribute_u32(IFLA_NET_NS_FD, descriptor(namespace));
        }
        message.nested(IFLA_LINKINFO, |info| {
            info.attribute_str(IFLA_INFO_KIND, "macvlan").nested(IFLA_INFO_DATA, |data| {
                data.attribute_u32(IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
            });
        });
        self.request(message, || format!("make the device {name}"))
    }

    /// False: there was none.
    pub fn delete_link(&mut self, name: &str) -> Result<bool> {
        let mut message = Message::new(RTM_DELLINK, 0, &header(0, 0, 0));
        message.attribute_str(IFLA_IFNAME, name);
        self.request_unless(&[Errno::NODEV], message, || format!("remove the device {name}"))
    }

    pub fn set_up(&mut self, index: u32) -> Result<()> {
        let message = Message::new(RTM_SETLINK, 0, &header(index, IFF_UP, IFF_UP));
        self.request(message, || format!("bring up device number {index}"))
    }

    /// Up, and deaf to ARP: for a bridge's port, which speaks for nobody.
    pub fn set_up_without_arp(&mut self, index: u32) -> Result<()> {
        let flags = IFF_UP | IFF_NOARP;
        let message = Message::new(RTM_SETLINK, 0, &header(index, flags, flags));
        self.request(message, || format!("bring up device number {index}"))
    }

    pub fn set_down(&mut self, index: u32) -> Result<()> {
        let message = Message::new(RTM_SETLINK, 0, &header(index, 0, IFF_UP));
        self.request(message, || format!("take down device number {index}"))
    }

    /// None: no longer a port of any.
    pub fn set_master(&mut self, index: u32, master: Option<u32>) -> Result<()> {
        self.set(index, |message| {
            message.attribute_u32(IFLA_MASTER, master.unwrap_or(0));
        })
    }

    /// Some devices take it only while they are down.
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> Result<()> {
        self.set(index, |message| {
            message.attribute(IFLA_ADDRESS, &mac.0);
        })
    }

    /// Free text about the device, at most 255 bytes.
    pub fn set_alias(&mut self, index: u32, alias: &str) -> Result<()> {
        self.set(index, |message| {
            message.attribute(IFLA_IFALIAS, alias.as_bytes());
        })
    }

    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<()> {
        self.set(index, |message| {
            message.attribute_u32(IFLA_MTU, mtu);
        })
    }

    /// The device must be down.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<()> {
        self.set(index, |message| {
            message.attribute_str(IFLA_IFNAME, name);
        })
    }

    /// It arrives down, without addresses, and under `name` if one is given. Its index may be another
    /// there.
    pub fn move_to(&mut self, index: u32, netns: BorrowedFd<'_>, name: Option<&str>) -> Result<()> {
        self.set(index, |message| {
            message.attribute_u32(IFLA_NET_NS_FD, descriptor(netns));
            if let Some(name) = name {
                message.attribute_str(IFLA_IFNAME, name);
            }
        })
    }

    /// Whether the device gives itself a link-local address, made of its MAC (RFC 4291, appendix A).
    pub fn set_link_local(&mut self, index: u32, from_mac: bool) -> Result<()> {
        // IN6_ADDR_GEN_MODE_EUI64, IN6_ADDR_GEN_MODE_NONE
        let mode = if from_mac { 0 } else { 1 };
        self.set(index, |message| {
            message.nested(IFLA_AF_SPEC, |families| {
                families.nested(AF_INET6, |family| {
                    family.attribute_u8(IFLA_INET6_ADDR_GEN_MODE, mode);
                });
            });
        })
    }

    fn set(&mut self, index: u32, fill: impl FnOnce(&mut Message)) -> Result<()> {
        let mut message = Message::new(RTM_SETLINK, 0, &header(index, 0, 0));
        fill(&mut message);
        self.request(message, || format!("change device number {index}"))
    }
}

pub(super) fn new_link(name: &str, mac: Option<Mac>, mtu: Option<u32>) -> Message {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header(0, 0, 0));
    describe(&mut message, name, mac, mtu);
    message
}

fn describe(message: &mut Message, name: &str, mac: Option<Mac>, mtu: Option<u32>) {
    message.attribute_str(IFLA_IFNAME, name);
    if let Some(mac) = mac {
        message.attribute(IFLA_ADDRESS, &mac.0);
    }
    if let Some(mtu) = mtu {
        message.attribute_u32(IFLA_MTU, mtu);
    }
}

fn descriptor(netns: BorrowedFd<'_>) -> u32 {
    // A descriptor is never negative.
    netns.as_raw_fd().unsigned_abs()
}

/// `struct ifinfomsg`: family, device type, index, flags, and which of them are meant.
pub(super) fn header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

fn parse(body: &[u8]) -> Option<Link> {
    let (fixed, rest) = body.split_first_chunk::<16>()?;
    let flags = number(&fixed[8..12])?;
    let all = attributes(rest);
    let info = all.clone().of_kind(IFLA_LINKINFO);
    let mac = all.clone().of_kind(IFLA_ADDRESS).and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
    Some(Link {
        index: number(&fixed[4..8])?,
        name: text(all.clone().of_kind(IFLA_IFNAME)?),
        mac: mac.map(Mac),
        up: flags & IFF_UP != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        running: flags & IFF_RUNNING != 0,
        master: all.clone().of_kind(IFLA_MASTER).and_then(number),
        kind: info.and_then(|info| attributes(info).of_kind(IFLA_INFO_KIND)).map(text),
        mtu: all.clone().of_kind(IFLA_MTU).and_then(number).unwrap_or(0),
        alias: all.of_kind(IFLA_IFALIAS).map(text),
    })
}
