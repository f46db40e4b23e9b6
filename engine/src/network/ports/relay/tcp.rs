//! One relayed connection: two sockets, and what is under way between them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::sockopt::{KeepAlive, Linger, SocketError, TcpKeepIdle, TcpKeepInterval};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, setsockopt, socket,
};

/// Connections of a sandbox at a time; more wait to be accepted.
pub const MOST: usize = 4096;
/// A container that does not answer for so long will not.
const CONNECT: Duration = Duration::from_secs(10);
/// Reads and writes before others have their turn.
const ROUNDS: usize = 8;
/// Seconds until a peer that says nothing is asked whether it is there, and between questions.
const KEEPALIVE: (u32, u32) = (60, 15);

/// What all connections have in common.
pub struct Scratch {
    buffer: Box<[u8]>,
    /// Bytes held for receivers that do not take them.
    held: usize,
}

impl Scratch {
    /// Read at once, and held for one receiver.
    pub const CHUNK: usize = 64 * 1024;
    /// With more than this held by all connections, each adds little.
    const PLENTY: usize = 32 * 1024 * 1024;
    const LITTLE: usize = 4 * 1024;

    pub fn new() -> Scratch {
        Scratch { buffer: vec![0; Self::CHUNK].into_boxed_slice(), held: 0 }
    }

    pub fn whole(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    fn chunk(&mut self) -> &mut [u8] {
        let most = if self.held < Self::PLENTY { Self::CHUNK } else { Self::LITTLE };
        self.buffer.get_mut(..most).unwrap_or_default()
    }
}

/// One direction.
#[derive(Default)]
struct Pipe {
    pending: Vec<u8>,
    /// How much of it is written.
    written: usize,
    /// The sender has said all it will.
    ended: bool,
    /// The receiver was told so.
    told: bool,
}

/// One socket, and what the kernel was asked to report of it; nothing: it is not in the set, so that no end
/// of a connection is reported while the rest is written to the other side.
struct End {
    stream: TcpStream,
    asked: EpollFlags,
}

pub struct Connection {
    client: End,
    upstream: End,
    connected: bool,
    /// When it has to be connected.
    deadline: Instant,
    /// From the client, and to it.
    up: Pipe,
    down: Pipe,
}

/// Where events of the two sockets lead.
#[derive(Clone, Copy)]
pub struct Tokens {
    pub client: u64,
    pub upstream: u64,
}

impl Connection {
    /// Begins to connect; the outcome is told by an event of the upstream's.
    pub fn open(client: TcpStream, target: SocketAddr) -> io::Result<Connection> {
        let upstream = match begin(&client, target) {
            Ok(upstream) => upstream,
            Err(error) => {
                reset(&client);
                return Err(error);
            }
        };
        let end = |stream| End { stream, asked: EpollFlags::empty() };
        let (up, down) = (Pipe::default(), Pipe::default());
        let (client, upstream, deadline) = (end(client), end(upstream), Instant::now() + CONNECT);
        Ok(Connection { client, upstream, connected: false, deadline, up, down })
    }

    /// None: it is connected.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.connected).then_some(self.deadline)
    }

    /// Goes on with what can go on. False: it is at its end. An error ends both sides.
    pub fn advance(&mut self, scratch: &mut Scratch) -> io::Result<bool> {
        if !self.connected {
            match getsockopt(&self.upstream.stream, SocketError)? {
                0 => {}
                number => return Err(io::Error::from_raw_os_error(number)),
            }
            match self.upstream.stream.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(true),
                outcome => drop(outcome?),
            }
            self.connected = true;
        }
        self.up.carry(&self.client.stream, &self.upstream.stream, scratch)?;
        self.down.carry(&self.upstream.stream, &self.client.stream, scratch)?;
        Ok(!(self.up.told && self.down.told))
    }

    /// Has the kernel report what the connection now waits for.
    pub fn watch(&mut self, epoll: &Epoll, tokens: Tokens) -> nix::Result<()> {
        let (client, upstream) = if self.connected {
            (interest(&self.up, &self.down), interest(&self.down, &self.up))
        } else {
            (EpollFlags::empty(), EpollFlags::EPOLLOUT)
        };
        self.client.ask(epoll, client, tokens.client)?;
        self.upstream.ask(epoll, upstream, tokens.upstream)
    }

    /// The end. What broke on one side is a reset on the other.
    pub fn close(self, broken: bool, scratch: &mut Scratch) {
        scratch.held = scratch.held.saturating_sub(self.up.held() + self.down.held());
        if broken {
            reset(&self.client.stream);
            reset(&self.upstream.stream);
        }
    }
}

/// A socket reads where it is the sender and nothing waits for the receiver, and writes where something does.
fn interest(sends: &Pipe, receives: &Pipe) -> EpollFlags {
    let mut flags = EpollFlags::empty();
    flags.set(EpollFlags::EPOLLIN, !sends.ended && sends.pending.is_empty());
    flags.set(EpollFlags::EPOLLOUT, !receives.pending.is_empty());
    flags
}

impl End {
    fn ask(&mut self, epoll: &Epoll, flags: EpollFlags, token: u64) -> nix::Result<()> {
        if flags == self.asked {
            return Ok(());
        }
        if flags.is_empty() {
            epoll.delete(&self.stream)?;
        } else if self.asked.is_empty() {
            epoll.add(&self.stream, EpollEvent::new(flags, token))?;
        } else {
            epoll.modify(&self.stream, &mut EpollEvent::new(flags, token))?;
        }
        self.asked = flags;
        Ok(())
    }
}

impl Pipe {
    fn held(&self) -> usize {
        self.pending.len() - self.written
    }

    fn carry(&mut self, from: &TcpStream, to: &TcpStream, scratch: &mut Scratch) -> io::Result<()> {
        for _ in 0..ROUNDS {
            if !self.pending.is_empty() && !self.flush(to, scratch)? {
                return Ok(());
            }
            if self.ended {
                break;
            }
            let chunk = scratch.chunk();
            let Some(count) = would(Read::read(&mut &*from, chunk))? else { return Ok(()) };
            let data = chunk.get(..count).unwrap_or_default();
            self.ended = data.is_empty();
            if !self.ended {
                let written = would(Write::write(&mut &*to, data))?.unwrap_or(0);
                self.pending.extend(data.get(written..).unwrap_or_default());
                scratch.held += self.pending.len();
            }
        }
        if self.ended && self.pending.is_empty() && !self.told {
            self.told = true;
            // A receiver that is gone needs no telling.
            let _ = to.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// True: nothing is held any more.
    fn flush(&mut self, to: &TcpStream, scratch: &mut Scratch) -> io::Result<bool> {
        let data = self.pending.get(self.written..).unwrap_or_default();
        let written = would(Write::write(&mut &*to, data))?.unwrap_or(0);
        self.written += written;
        scratch.held = scratch.held.saturating_sub(written);
        if self.held() > 0 {
            return Ok(false);
        }
        (self.pending, self.written) = (Vec::new(), 0);
        Ok(true)
    }
}

/// None: not now.
fn would(outcome: io::Result<usize>) -> io::Result<Option<usize>> {
    match outcome {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

fn begin(client: &TcpStream, target: SocketAddr) -> io::Result<TcpStream> {
    client.set_nonblocking(true)?;
    let family = if target.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let upstream: OwnedFd = socket(family, SockType::Stream, flags, None)?;
    match connect(upstream.as_raw_fd(), &SockaddrStorage::from(target)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let upstream = TcpStream::from(upstream);
    for stream in [client, &upstream] {
        stream.set_nodelay(true)?;
        setsockopt(&stream.as_fd(), KeepAlive, &true)?;
        setsockopt(&stream.as_fd(), TcpKeepIdle, &KEEPALIVE.0)?;
        setsockopt(&stream.as_fd(), TcpKeepInterval, &KEEPALIVE.1)?;
    }
    Ok(upstream)
}

/// Closing then resets the connection (socket(7), SO_LINGER).
fn reset(stream: &TcpStream) {
    let _ = setsockopt(&stream.as_fd(), Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
}
