//! The routing tables.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use super::{NLM_F_CREATE, NLM_F_REPLACE, Result, Rtnetlink, failed, family, number, octets, to_address};
use crate::netlink::{Message, attributes};
use crate::protocol::Prefix;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_TABLE: u16 = 15;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTM_F_CLONED: u32 = 0x200;

/// A route to other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteEntry {
    /// `0.0.0.0/0` or `::/0`: the default route.
    pub destination: Prefix,
    /// None: at the link itself.
    pub gateway: Option<IpAddr>,
    /// Index of the device. None: the kernel finds it by the gateway.
    pub device: Option<u32>,
    /// Of several to one destination the lowest counts. None: the kernel's choice.
    pub metric: Option<u32>,
}

impl RouteEntry {
    /// In the main routing table.
    const MAIN: u8 = 254;

    pub fn is_default(&self) -> bool {
        self.destination.length == 0
    }

    fn message(&self, kind: u16, also: u16) -> Message {
        let destination = self.destination.network();
        let scope = match self.gateway {
            None if destination.is_ipv4() && kind == RTM_NEWROUTE => RT_SCOPE_LINK,
            // As a key of what is to be removed: RT_SCOPE_NOWHERE, any.
            _ if kind == RTM_DELROUTE => 255,
            _ => RT_SCOPE_UNIVERSE,
        };
        let (protocol, unicast) = if kind == RTM_NEWROUTE { (RTPROT_STATIC, RTN_UNICAST) } else { (0, 0) };
        // `struct rtmsg`: family, destination's and source's length, TOS, table, protocol, scope, type, flags.
        let family = family(destination.address);
        let table = RouteEntry::MAIN;
        let header = [family, destination.length, 0, 0, table, protocol, scope, unicast, 0, 0, 0, 0];
        let mut message = Message::new(kind, also, &header);
        if destination.length > 0 {
            message.attribute(RTA_DST, &octets(destination.address));
        }
        if let Some(gateway) = self.gateway {
            message.attribute(RTA_GATEWAY, &octets(gateway));
        }
        if let Some(device) = self.device {
            message.attribute_u32(RTA_OIF, device);
        }
        if let Some(metric) = self.metric {
            message.attribute_u32(RTA_PRIORITY, metric);
        }
        message
    }
}

impl Rtnetlink {
    /// One to the same destination, of the same metric, makes way.
    pub fn replace_route(&mut self, route: &RouteEntry) -> Result<()> {
        let message = route.message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
        self.request(message, || format!("set the route to {}", route.destination))
    }

    /// False: there was none.
    pub fn delete_route(&mut self, route: &RouteEntry) -> Result<bool> {
        let what = || format!("remove the route to {}", route.destination);
        self.request_unless(&[Errno::SRCH], route.message(RTM_DELROUTE, 0), what)
    }

    /// The unicast routes of every table but `local`.
    pub fn routes(&mut self) -> Result<Vec<RouteEntry>> {
        let mut found = Vec::new();
        let listed = self.socket.dump(Message::new(RTM_GETROUTE, 0, &[0; 12]), |kind, body| {
            found.extend((kind == RTM_NEWROUTE).then(|| parse(body)).flatten());
        });
        listed.map_err(failed(|| "list routes".to_owned()))?;
        Ok(found)
    }
}

fn parse(body: &[u8]) -> Option<RouteEntry> {
    const RT_TABLE_LOCAL: u32 = 255;
    let (fixed, rest) = body.split_first_chunk::<12>()?;
    let all = attributes(rest);
    let table = all.clone().of_kind(RTA_TABLE).and_then(number).unwrap_or(fixed[4].into());
    let cloned = number(&fixed[8..12])? & RTM_F_CLONED != 0;
    if fixed[7] != RTN_UNICAST || table == RT_TABLE_LOCAL || cloned {
        return None;
    }
    let address = match all.clone().of_kind(RTA_DST) {
        Some(bytes) => to_address(bytes)?,
        None if fixed[0] == family(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv4Addr::UNSPECIFIED.into(),
        None if fixed[0] == family(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ipv6Addr::UNSPECIFIED.into(),
        None => return None,
    };
    Some(RouteEntry {
        destination: Prefix::new(address, fixed[1])?,
        gateway: all.clone().of_kind(RTA_GATEWAY).and_then(to_address),
        device: all.clone().of_kind(RTA_OIF).and_then(number),
        metric: all.of_kind(RTA_PRIORITY).and_then(number),
    })
}
