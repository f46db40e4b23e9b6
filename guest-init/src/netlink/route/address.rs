//! Addresses of devices.

use std::net::{IpAddr, Ipv4Addr};

use rustix::io::Errno;

use super::{NLM_F_CREATE, NLM_F_REPLACE, Result, Rtnetlink, failed, family, number, octets, to_address};
use crate::netlink::{Message, attributes};
use crate::protocol::Prefix;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
/// Usable at once, without asking around whether somebody else has it: hull gave it to one only.
const IFA_F_NODAD: u8 = 2;

impl Rtnetlink {
    /// No matter if it is there already.
    pub fn add_address(&mut self, index: u32, prefix: Prefix) -> Result<()> {
        let flags = if prefix.is_ipv4() { 0 } else { IFA_F_NODAD };
        let mut message = message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, prefix, flags);
        if let (IpAddr::V4(address), 0..=30) = (prefix.address, prefix.length) {
            let host = u32::MAX.checked_shr(prefix.length.into()).unwrap_or(0);
            let broadcast = Ipv4Addr::from(u32::from(address) | host);
            message.attribute(IFA_BROADCAST, &broadcast.octets());
        }
        self.request(message, || format!("give the address {prefix} to device number {index}"))
    }

    /// False: it did not have it.
    pub fn delete_address(&mut self, index: u32, prefix: Prefix) -> Result<bool> {
        let message = message(RTM_DELADDR, 0, index, prefix, 0);
        let what = || format!("take the address {prefix} from device number {index}");
        self.request_unless(&[Errno::ADDRNOTAVAIL], message, what)
    }

    /// All of all devices, with the index of each one's device.
    pub fn addresses(&mut self) -> Result<Vec<(u32, Prefix)>> {
        let mut found = Vec::new();
        let listed = self.socket.dump(Message::new(RTM_GETADDR, 0, &[0; 8]), |kind, body| {
            found.extend((kind == RTM_NEWADDR).then(|| parse(body)).flatten());
        });
        listed.map_err(failed(|| "list addresses".to_owned()))?;
        Ok(found)
    }
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index of the device.
fn message(kind: u16, also: u16, index: u32, prefix: Prefix, flags: u8) -> Message {
    let mut header = [family(prefix.address), prefix.length, flags, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut message = Message::new(kind, also, &header);
    message.attribute(IFA_LOCAL, &octets(prefix.address)).attribute(IFA_ADDRESS, &octets(prefix.address));
    message
}

fn parse(body: &[u8]) -> Option<(u32, Prefix)> {
    let (fixed, rest) = body.split_first_chunk::<8>()?;
    let all = attributes(rest);
    // On a link between two, IFA_ADDRESS is the other end's (rtnetlink(7)); IPv6 has only that one.
    let bytes = all.clone().of_kind(IFA_LOCAL).or_else(|| all.of_kind(IFA_ADDRESS))?;
    Some((number(&fixed[4..8])?, Prefix::new(to_address(bytes)?, fixed[1])?))
}
