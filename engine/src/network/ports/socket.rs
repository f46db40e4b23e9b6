//! The sockets that hold a port of the host's.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo, Ipv6V6Only, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getsockname, listen, setsockopt,
    socket,
};

use crate::network::model::Protocol;

/// Connections that wait until they are accepted. The kernel takes the lesser of this and its somaxconn.
const BACKLOG: i32 = 4096;

#[derive(Debug)]
pub enum PortSocket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl PortSocket {
    /// Takes the port: a TCP socket listens from then on. Port 0: any; the address it got comes with it.
    pub fn open(protocol: Protocol, at: SocketAddr) -> Result<(PortSocket, SocketAddr), Errno> {
        let (kind, family) = match (protocol, at.is_ipv4()) {
            (Protocol::Tcp, true) => (SockType::Stream, AddressFamily::Inet),
            (Protocol::Tcp, false) => (SockType::Stream, AddressFamily::Inet6),
            (Protocol::Udp, true) => (SockType::Datagram, AddressFamily::Inet),
            (Protocol::Udp, false) => (SockType::Datagram, AddressFamily::Inet6),
            (Protocol::Sctp, _) => return Err(Errno::EPROTONOSUPPORT),
        };
        let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
        if at.is_ipv6() {
            setsockopt(&fd, Ipv6V6Only, &true)?;
        }
        match protocol {
            // Connections of an earlier sandbox may still be about to end (socket(7)). Two listeners on one
            // port are refused all the same.
            Protocol::Tcp => setsockopt(&fd, ReuseAddr, &true)?,
            // Answers are to come from the address that was asked.
            _ if at.is_ipv4() => setsockopt(&fd, Ipv4PacketInfo, &true)?,
            _ => setsockopt(&fd, Ipv6RecvPacketInfo, &true)?,
        }
        bind(fd.as_raw_fd(), &SockaddrStorage::from(at))?;
        let got = address_of(&fd)?;
        if protocol == Protocol::Tcp {
            listen(&fd, Backlog::new(BACKLOG)?)?;
            return Ok((PortSocket::Tcp(fd.into()), got));
        }
        Ok((PortSocket::Udp(fd.into()), got))
    }
}

fn address_of(fd: &OwnedFd) -> Result<SocketAddr, Errno> {
    let storage: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    socket_address(&storage).ok_or(Errno::EAFNOSUPPORT)
}

/// None: of another family.
pub fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

impl AsFd for PortSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            PortSocket::Tcp(listener) => listener.as_fd(),
            PortSocket::Udp(socket) => socket.as_fd(),
        }
    }
}
