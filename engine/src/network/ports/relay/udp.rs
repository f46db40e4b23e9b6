//! Datagrams: a socket for each client, so that answers find back.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg};

use super::slab::Slab;
use crate::network::ports::socket::socket_address;

/// Clients of a sandbox at a time; one more takes the place of who has been silent longest.
pub const MOST: usize = 1024;
/// A client that is silent for so long is forgotten (docker's number).
const SILENCE: Duration = Duration::from_secs(90);
/// Between searches for such.
pub const SWEEP: Duration = Duration::from_secs(30);
/// Datagrams before others have their turn.
const ROUNDS: usize = 64;

/// Who asked, where: the port's number among the sandbox's, and the address of the host's it was sent to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Client {
    port: usize,
    address: SocketAddr,
    asked: Option<IpAddr>,
}

struct Flow {
    client: Client,
    upstream: UdpSocket,
    used: Instant,
}

pub struct Flows {
    flows: Slab<Flow>,
    numbers: HashMap<Client, usize>,
}

impl Flows {
    pub fn new() -> Flows {
        Flows { flows: Slab::new(), numbers: HashMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// What clients sent to the port's socket. `token` makes a flow's number one of the set's.
    pub fn forward(
        &mut self,
        (port, socket): (usize, &UdpSocket),
        target: Option<SocketAddr>,
        (epoll, token): (&Epoll, impl Fn(usize) -> u64),
        buffer: &mut [u8],
    ) {
        for _ in 0..ROUNDS {
            let Some((count, address, asked)) = receive(socket, buffer) else { return };
            let client = Client { port, address, asked };
            let Some(target) = target else { continue };
            let Some(flow) = self.of(client, target, epoll, &token) else { continue };
            flow.used = Instant::now();
            // A datagram that is not taken is lost, as datagrams are.
            let _ = flow.upstream.send(buffer.get(..count).unwrap_or_default());
        }
    }

    /// What the container answered.
    pub fn answer<'a>(
        &mut self,
        number: usize,
        socket_of: impl Fn(usize) -> Option<&'a UdpSocket>,
        buffer: &mut [u8],
    ) {
        let Some(flow) = self.flows.get_mut(number) else { return };
        let Some(socket) = socket_of(flow.client.port) else { return };
        for _ in 0..ROUNDS {
            match flow.upstream.recv(buffer) {
                Ok(count) => {
                    flow.used = Instant::now();
                    send(socket, flow.client, buffer.get(..count).unwrap_or_default());
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // Nobody listens there, or it cannot be reached: an earlier datagram's fate.
                Err(_) => {}
            }
        }
    }

    pub fn sweep(&mut self, now: Instant) {
        let silent = |flow: &Flow| now.saturating_duration_since(flow.used) >= SILENCE;
        let numbers: Vec<usize> =
            self.flows.iter().filter(|(_, flow)| silent(flow)).map(|(number, _)| number).collect();
        numbers.into_iter().for_each(|number| self.forget(number));
    }

    pub fn settle(&mut self) {
        self.flows.settle();
    }

    fn of(
        &mut self,
        client: Client,
        target: SocketAddr,
        epoll: &Epoll,
        token: &impl Fn(usize) -> u64,
    ) -> Option<&mut Flow> {
        if let Some(number) = self.numbers.get(&client) {
            return self.flows.get_mut(*number);
        }
        if self.numbers.len() >= MOST {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.used).map(|(number, _)| number);
            self.forget(oldest?);
        }
        let upstream = connected(target).ok()?;
        epoll.add(&upstream, EpollEvent::new(EpollFlags::EPOLLIN, token(self.flows.next()))).ok()?;
        let number = self.flows.insert(Flow { client, upstream, used: Instant::now() });
        self.numbers.insert(client, number);
        self.flows.get_mut(number)
    }

    /// Closing its socket takes it out of the set.
    fn forget(&mut self, number: usize) {
        if let Some(flow) = self.flows.remove(number) {
            self.numbers.remove(&flow.client);
        }
    }
}

fn connected(target: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// One datagram: its length, who sent it, and to which address. None: there is no more.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr, Option<IpAddr>)> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
    let address = socket_address(message.address.as_ref()?)?;
    let asked = message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(u32::from_be(info.ipi_spec_dst.s_addr).into()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::V6(info.ipi6_addr.s6_addr.into())),
        _ => None,
    });
    Some((message.bytes, address, asked.filter(|address| !address.is_multicast())))
}

/// Sends from the address that was asked. What cannot be sent is lost.
fn send(socket: &UdpSocket, client: Client, data: &[u8]) {
    let (to, parts) = (SockaddrStorage::from(client.address), [IoSlice::new(data)]);
    let fd = socket.as_fd().as_raw_fd();
    let send = |control: &[ControlMessage<'_>]| {
        let _ = sendmsg(fd, &parts, control, MsgFlags::MSG_DONTWAIT, Some(&to));
    };
    match client.asked {
        Some(IpAddr::V4(address)) => {
            let own = libc::in_addr { s_addr: u32::from(address).to_be() };
            let info =
                libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: own, ipi_addr: libc::in_addr { s_addr: 0 } };
            send(&[ControlMessage::Ipv4PacketInfo(&info)]);
        }
        Some(IpAddr::V6(address)) => {
            let own = libc::in6_addr { s6_addr: address.octets() };
            send(&[ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo { ipi6_addr: own, ipi6_ifindex: 0 })]);
        }
        None => send(&[]),
    }
}
