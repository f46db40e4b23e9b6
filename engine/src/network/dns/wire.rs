//! One question to one server, by UDP or TCP, in a socket of its own that never blocks: each has a port of its
//! own that somebody who forges answers would have to guess, too (RFC 5452, 9.2).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, connect, socket};

use super::question::MAX_DATAGRAM;

/// Bytes of a message's length by TCP (RFC 1035, 4.2.2).
const LENGTH: usize = 2;
/// Bytes read at once.
const CHUNK: usize = 4096;

pub enum Wire {
    /// Connected: datagrams from elsewhere never come.
    Udp(UdpSocket),
    Tcp {
        stream: TcpStream,
        /// What is not sent yet.
        output: Vec<u8>,
        input: Vec<u8>,
    },
}

impl Wire {
    pub fn udp(server: SocketAddr, message: &[u8]) -> io::Result<Self> {
        let any: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(server)?;
        socket.send(message)?;
        Ok(Wire::Udp(socket))
    }

    pub fn tcp(server: SocketAddr, message: &[u8]) -> io::Result<Self> {
        let family = if server.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(family, SockType::Stream, flags, None)?;
        let started = match server {
            SocketAddr::V4(server) => connect(fd.as_raw_fd(), &SockaddrIn::from(server)),
            SocketAddr::V6(server) => connect(fd.as_raw_fd(), &SockaddrIn6::from(server)),
        };
        match started {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let length = u16::try_from(message.len()).map_err(|_| ErrorKind::InvalidInput)?;
        let output = [&length.to_be_bytes(), message].concat();
        Ok(Wire::Tcp { stream: fd.into(), output, input: Vec::new() })
    }

    pub fn is_tcp(&self) -> bool {
        matches!(self, Wire::Tcp { .. })
    }

    pub fn poll(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            Wire::Udp(socket) => (socket.as_fd(), PollFlags::POLLIN),
            Wire::Tcp { stream, output, .. } if output.is_empty() => (stream.as_fd(), PollFlags::POLLIN),
            Wire::Tcp { stream, .. } => (stream.as_fd(), PollFlags::POLLOUT),
        }
    }

    /// Does what can be done now. A message, if one is there.
    pub fn advance(&mut self) -> io::Result<Option<Vec<u8>>> {
        let done = match self {
            Wire::Udp(socket) => receive(socket).map(Some),
            Wire::Tcp { stream, output, input } => exchange(stream, output, input),
        };
        match done {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            done => done,
        }
    }
}

fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::from(MAX_DATAGRAM)];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn exchange(
    stream: &mut TcpStream,
    output: &mut Vec<u8>,
    input: &mut Vec<u8>,
) -> io::Result<Option<Vec<u8>>> {
    while !output.is_empty() {
        // That the connection failed is told here, as well.
        let written = stream.write(output)?;
        output.drain(..written);
    }
    loop {
        if let Some((length, message)) = input.split_first_chunk::<LENGTH>()
            && let Some(message) = message.get(..usize::from(u16::from_be_bytes(*length)))
        {
            return Ok(Some(message.to_vec()));
        }
        let mut chunk = [0; CHUNK];
        match stream.read(&mut chunk)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => input.extend_from_slice(chunk.get(..read).unwrap_or_default()),
        }
    }
}
