//! Bridges and their ports.

use super::link::{IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO, RTM_NEWLINK, header, new_link};
use super::{NLM_F_CREATE, NLM_F_REPLACE, Result, Rtnetlink};
use crate::netlink::Message;
use crate::protocol::Mac;

const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_GUARD: u16 = 5;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const RTM_NEWNEIGH: u16 = 28;
const AF_BRIDGE: u8 = 7;
/// With it an entry neither ages nor moves to another port.
const NUD_NOARP: u16 = 0x40;
const NTF_MASTER: u8 = 4;
const NDA_LLADDR: u16 = 2;

/// How a bridge treats one of its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortFlags {
    /// Frames may leave through the port that they came in by.
    pub hairpin: bool,
    /// Reaches none of the other isolated ports.
    pub isolated: bool,
    /// Addresses of what comes in are remembered.
    pub learning: bool,
    /// Gets frames to addresses that no port is known for.
    pub unicast_flood: bool,
    /// Frames of the spanning tree protocol that come in are dropped, and the port with them.
    pub bpdu_guard: bool,
}

impl Default for PortFlags {
    /// As the kernel makes a port.
    fn default() -> Self {
        let (hairpin, isolated, bpdu_guard) = (false, false, false);
        PortFlags { hairpin, isolated, learning: true, unicast_flood: true, bpdu_guard }
    }
}

impl Rtnetlink {
    /// Without spanning tree, so ports forward from the first moment, and without listening to who wants
    /// which group's frames. Fails with EEXIST if the name is taken.
    pub fn add_bridge(&mut self, name: &str, mac: Option<Mac>, mtu: Option<u32>) -> Result<()> {
        let mut message = new_link(name, mac, mtu);
        message.nested(IFLA_LINKINFO, |info| {
            info.attribute_str(IFLA_INFO_KIND, "bridge").nested(IFLA_INFO_DATA, |data| {
                data.attribute_u32(IFLA_BR_FORWARD_DELAY, 0)
                    .attribute_u32(IFLA_BR_STP_STATE, 0)
                    .attribute_u8(IFLA_BR_MCAST_SNOOPING, 0);
            });
        });
        self.request(message, || format!("make the bridge {name}"))
    }

    /// `index` is a port already.
    pub fn set_port(&mut self, index: u32, flags: PortFlags) -> Result<()> {
        let mut message = Message::new(RTM_NEWLINK, 0, &header(index, 0, 0));
        message.nested(IFLA_LINKINFO, |info| {
            info.attribute_str(IFLA_INFO_SLAVE_KIND, "bridge").nested(IFLA_INFO_SLAVE_DATA, |data| {
                data.attribute_u8(IFLA_BRPORT_MODE, flags.hairpin.into())
                    .attribute_u8(IFLA_BRPORT_ISOLATED, flags.isolated.into())
                    .attribute_u8(IFLA_BRPORT_LEARNING, flags.learning.into())
                    .attribute_u8(IFLA_BRPORT_UNICAST_FLOOD, flags.unicast_flood.into())
                    .attribute_u8(IFLA_BRPORT_GUARD, flags.bpdu_guard.into());
            });
        });
        self.request(message, || format!("change bridge port number {index}"))
    }

    /// Says which port of its bridge an address is behind, once and for all.
    pub fn add_port_address(&mut self, port: u32, mac: Mac) -> Result<()> {
        // struct ndmsg: family, index, state, flags, type.
        let mut fixed = [0; 12];
        fixed[0] = AF_BRIDGE;
        fixed[4..8].copy_from_slice(&port.to_ne_bytes());
        fixed[8..10].copy_from_slice(&NUD_NOARP.to_ne_bytes());
        fixed[10] = NTF_MASTER;
        let mut message = Message::new(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &fixed);
        message.attribute(NDA_LLADDR, &mac.0);
        self.request(message, || format!("give bridge port number {port} the address {mac}"))
    }
}
