//! The kernel's memory of connections, nf_conntrack. An address that changes hands takes none of its last
//! owner's along: what they began would pass for something that was allowed.

use std::net::IpAddr;

use super::{Errno, Message, NetlinkError, Protocol, Socket, attributes};

// linux/netfilter/nfnetlink_conntrack.h
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V6_SRC: u16 = 3;
/// Of what is to be compared: the source address.
const IP_SRC: u32 = 1;

/// What a kernel without it says: nfnetlink knows no such subsystem.
const NOT_THERE: [Errno; 3] = [Errno::INVAL, Errno::OPNOTSUPP, Errno::PROTONOSUPPORT];

/// Forgets every connection that the address began or answered; how many those were. None where the kernel
/// cannot be asked (CONFIG_NF_CT_NETLINK).
pub fn forget(socket: &mut Socket, address: IpAddr) -> Result<usize, NetlinkError> {
    let mut found = Vec::new();
    for tuple in [CTA_TUPLE_ORIG, CTA_TUPLE_REPLY] {
        let listed = socket.dump(sent_by(tuple, address), |_, body| {
            let (all, family) = (body.get(4..).unwrap_or_default(), body.first().copied());
            found.extend(
                attributes(all)
                    .of_kind(CTA_TUPLE_ORIG)
                    .zip(family)
                    .map(|(tuple, family)| (tuple.to_vec(), family)),
            );
        });
        match listed {
            Err(error) if NOT_THERE.iter().any(|errno| error.is(*errno)) => return Ok(0),
            listed => listed?,
        }
    }
    let mut forgotten = 0;
    for (tuple, family) in found {
        let mut message = Message::new(DELETE, 0, &[family, 0, 0, 0]);
        message.nested(CTA_TUPLE_ORIG, |nested| {
            nested.raw(&tuple);
        });
        match socket.request(message) {
            // It has ended by itself, or was found twice.
            Err(error) if error.is(Errno::NOENT) => {}
            outcome => {
                outcome?;
                forgotten += 1;
            }
        }
    }
    Ok(forgotten)
}

/// Asks for connections whose packets one way come from the address (Linux 5.8, which hull needs anyway).
fn sent_by(tuple: u16, address: IpAddr) -> Message {
    let (family, kind, bytes) = match address {
        IpAddr::V4(address) => (libc::AF_INET, CTA_IP_V4_SRC, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, CTA_IP_V6_SRC, address.octets().to_vec()),
    };
    let mut message = Message::new(GET, 0, &[u8::try_from(family).unwrap_or(0), 0, 0, 0]);
    message.nested(tuple, |tuple| {
        tuple.nested(CTA_TUPLE_IP, |ip| {
            ip.attribute(kind, &bytes);
        });
    });
    let (original, reply) = if tuple == CTA_TUPLE_ORIG { (IP_SRC, 0) } else { (0, IP_SRC) };
    message.nested(CTA_FILTER, |filter| {
        filter.attribute_u32(CTA_FILTER_ORIG_FLAGS, original).attribute_u32(CTA_FILTER_REPLY_FLAGS, reply);
    });
    message
}

/// A socket for it, in the calling thread's network namespace.
pub fn open() -> Result<Socket, NetlinkError> {
    Socket::open(Protocol::Netfilter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    use std::net::UdpSocket;
    use std::process::Command;

    #[test]
    fn connections_of_an_address_are_forgotten_and_others_stay() {
        // SAFETY: NEWNET touches neither descriptors nor memory; the thread ends with the test.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let run =
            |command: &str| assert!(Command::new("sh").args(["-c", command]).status().unwrap().success());
        run("ip link set lo up; ip address add 10.1.0.1/32 dev lo; ip address add 10.1.0.2/32 dev lo");
        run("nft 'add table ip t; add chain ip t c { type filter hook output priority 0; }; \
             add rule ip t c ct state new accept'");
        let server = UdpSocket::bind("10.1.0.1:7").unwrap();
        let client = UdpSocket::bind("10.1.0.2:8").unwrap();
        client.send_to(b"x", "10.1.0.1:7").unwrap();
        let mut buffer = [0; 1];
        server.recv_from(&mut buffer).unwrap();
        let mut socket = open().unwrap();
        assert_eq!(forget(&mut socket, "10.1.0.3".parse().unwrap()).unwrap(), 0);
        assert_eq!(forget(&mut socket, "10.1.0.1".parse().unwrap()).unwrap(), 1);
        assert_eq!(forget(&mut socket, "10.1.0.2".parse().unwrap()).unwrap(), 0);
        assert_eq!(forget(&mut socket, "fd00::1".parse().unwrap()).unwrap(), 0);
    }
}
