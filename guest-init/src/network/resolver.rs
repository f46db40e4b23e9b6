//! 127.0.0.11:53, where containers are told to ask for names.
//!
//! The sockets are at ports that were free, so that a container may have one of its own at any address's
//! port 53. What is sent to 127.0.0.11:53 goes to those ports all the same, and what they answer comes from
//! there: rules change the ports in the packets as they leave. That takes no conntrack, which would have to
//! look at all other packets of the sandbox too. Where a container has conntrack on, it sees port 53 both ways:
//! it looks at packets at priority -200, before questions and after answers are changed.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};

use crate::error::{Step, StepError};
use crate::netlink::nft::{Base, Batch, Family, Hook, Rule, Table};
use crate::netlink::{NetlinkError, Protocol, Socket};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const PORT: u16 = 53;
const BACKLOG: i32 = 32;
const TABLE: Table<'_> = Table::new(Family::Ip, "hull_dns");
/// IP protocol numbers and where the checksum is in the header.
const TCP: (u8, u32) = (6, 16);
const UDP: (u8, u32) = (17, 6);

/// They do not block.
pub struct ResolverSockets {
    pub datagrams: OwnedFd,
    pub listener: OwnedFd,
}

impl ResolverSockets {
    /// In this network namespace, whose loopback device is up.
    pub fn open() -> Result<Self, StepError> {
        let datagrams = socket(SocketType::DGRAM).step("open a socket for names")?;
        let listener = socket(SocketType::STREAM)
            .and_then(|socket| listen(&socket, BACKLOG).map(|()| socket))
            .step("open a listening socket for names")?;
        let ports = port(&datagrams).and_then(|udp| Ok((udp, port(&listener)?)));
        let (udp, tcp) = ports.step("find the ports of the sockets for names")?;
        redirect(udp, tcp).map_err(|error| {
            StepError::setup(format!("Failed to redirect {ADDRESS}:{PORT} through nftables: {error}"))
        })?;
        Ok(ResolverSockets { datagrams, listener })
    }
}

fn socket(kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, kind, flags, None)?;
    bind(&socket, &SocketAddrV4::new(ADDRESS, 0))?;
    Ok(socket)
}

fn port(socket: &OwnedFd) -> rustix::io::Result<u16> {
    Ok(SocketAddrV4::try_from(getsockname(socket)?)?.port())
}

fn redirect(udp: u16, tcp: u16) -> Result<(), NetlinkError> {
    let mut socket = Socket::open(Protocol::Netfilter)?;
    // A namespace that had an agent before may have the rules to its ports. They are not removed for nothing: the
    // kernel makes who does that wait for the end of it, which takes longer than all else here.
    let mut batch = Batch::new();
    batch.create_table(TABLE);
    match add_rules(batch, udp, tcp).commit(&mut socket) {
        Err(error) if error.is(Errno::EXIST) => {
            let mut batch = Batch::new();
            batch.destroy_table(TABLE).add_table(TABLE);
            add_rules(batch, udp, tcp).commit(&mut socket)
        }
        done => done,
    }
}

fn add_rules(mut batch: Batch, udp: u16, tcp: u16) -> Batch {
    let (questions, answers) = (TABLE.chain("questions"), TABLE.chain("answers"));
    batch.add_base_chain(questions, Base::filter(Hook::Output, -150));
    batch.add_base_chain(answers, Base::filter(Hook::Output, -300));
    for ((protocol, checksum), port) in [(UDP, udp), (TCP, tcp)] {
        let question = Rule::new(questions).daddr(ADDRESS.into()).l4proto(protocol).dport(PORT);
        batch.add_rule(question.set_dport(port, checksum));
        let answer = Rule::new(answers).saddr(ADDRESS.into()).l4proto(protocol).sport(port);
        batch.add_rule(answer.set_sport(PORT, checksum));
    }
    batch
}
