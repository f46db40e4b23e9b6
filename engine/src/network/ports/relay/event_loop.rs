//! The relay's thread: one epoll set of all its sockets.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;

use super::Targets;
use super::slab::Slab;
use super::tcp::{self, Connection, Scratch, Tokens};
use super::udp::{self, Flows};
use crate::network::ports::bind::BoundPort;
use crate::network::ports::socket::PortSocket;

/// Connections accepted before others have their turn.
const ACCEPTS: usize = 64;
/// Until it is looked again whether there are descriptors, if no connection's end gives any back.
const SCARCE: Duration = Duration::from_secs(1);

/// Whose event it is, with a number: of the port, the connection or the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Stop,
    Port(usize),
    Client(usize),
    Upstream(usize),
    Flow(usize),
}

impl Token {
    const SHIFT: u32 = 56;

    fn to_u64(self) -> u64 {
        let (kind, number) = match self {
            Token::Stop => (0, 0),
            Token::Port(number) => (1, number),
            Token::Client(number) => (2, number),
            Token::Upstream(number) => (3, number),
            Token::Flow(number) => (4, number),
        };
        kind << Self::SHIFT | u64::try_from(number).unwrap_or(u64::MAX >> 8)
    }

    fn from_u64(token: u64) -> Option<Token> {
        let number = usize::try_from(token & (u64::MAX >> 8)).ok()?;
        match token >> Self::SHIFT {
            0 => Some(Token::Stop),
            1 => Some(Token::Port(number)),
            2 => Some(Token::Client(number)),
            3 => Some(Token::Upstream(number)),
            4 => Some(Token::Flow(number)),
            _ => None,
        }
    }
}

fn tokens(number: usize) -> Tokens {
    Tokens { client: Token::Client(number).to_u64(), upstream: Token::Upstream(number).to_u64() }
}

/// Whether new connections are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepting {
    Yes,
    /// Not before a connection ends, or this moment.
    NotBefore(Instant),
}

pub struct EventLoop {
    epoll: Epoll,
    ports: Vec<BoundPort>,
    targets: Arc<Mutex<Targets>>,
    connections: Slab<Connection>,
    /// When those that were opened have to be connected, in this order.
    deadlines: VecDeque<(Instant, usize)>,
    flows: Flows,
    /// When silent flows are looked for; none: there are no flows.
    sweep: Option<Instant>,
    accepting: Accepting,
    scratch: Scratch,
    /// In the set as long as this lives.
    _stop: Arc<EventFd>,
}

impl EventLoop {
    pub fn new(
        ports: Vec<BoundPort>,
        stop: Arc<EventFd>,
        targets: Arc<Mutex<Targets>>,
    ) -> io::Result<EventLoop> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(stop.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, Token::Stop.to_u64()))?;
        for (number, port) in ports.iter().enumerate() {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, Token::Port(number).to_u64());
            epoll.add(port.socket.as_fd(), event)?;
        }
        Ok(EventLoop {
            epoll,
            ports,
            targets,
            connections: Slab::new(),
            deadlines: VecDeque::new(),
            flows: Flows::new(),
            sweep: None,
            accepting: Accepting::Yes,
            scratch: Scratch::new(),
            _stop: stop,
        })
    }

    /// Until it is told to stop.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = vec![EpollEvent::empty(); 256];
        loop {
            let count = match self.epoll.wait(&mut events, self.timeout()) {
                Err(Errno::EINTR) => 0,
                outcome => outcome?,
            };
            for event in events.iter().take(count) {
                match Token::from_u64(event.data()) {
                    Some(Token::Stop) => return Ok(()),
                    Some(Token::Port(number)) => self.arrived(number)?,
                    Some(Token::Client(number) | Token::Upstream(number)) => self.advance(number),
                    Some(Token::Flow(number)) => self.answer(number),
                    None => {}
                }
            }
            self.expire(Instant::now())?;
            self.connections.settle();
            self.flows.settle();
        }
    }

    fn timeout(&self) -> EpollTimeout {
        let retry = match self.accepting {
            Accepting::Yes => None,
            Accepting::NotBefore(moment) => Some(moment),
        };
        let deadline = self.deadlines.front().map(|(moment, _)| *moment);
        let Some(next) = [deadline, self.sweep, retry].into_iter().flatten().min() else {
            return EpollTimeout::NONE;
        };
        // Rounded up, so that it has passed then.
        let wait = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::MAX)
    }

    fn expire(&mut self, now: Instant) -> io::Result<()> {
        while let Some((moment, number)) = self.deadlines.front().copied() {
            // Else it is connected, or its number another's.
            let waits = self.connections.get_mut(number).and_then(|it| it.deadline()) == Some(moment);
            if waits && moment > now {
                break;
            }
            self.deadlines.pop_front();
            if waits {
                self.close(number, true);
            }
        }
        if self.sweep.is_some_and(|moment| moment <= now) {
            self.flows.sweep(now);
            self.sweep = (!self.flows.is_empty()).then(|| now + udp::SWEEP);
        }
        if matches!(self.accepting, Accepting::NotBefore(moment) if moment <= now) {
            self.accept_again(true)?;
        }
        Ok(())
    }

    fn target(&self, port: &BoundPort) -> Option<SocketAddr> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        port.target(targets.ipv4, targets.ipv6)
    }

    fn arrived(&mut self, number: usize) -> io::Result<()> {
        let Some(port) = self.ports.get(number) else { return Ok(()) };
        match &port.socket {
            PortSocket::Udp(socket) => {
                let target = self.target(port);
                let token = |flow| Token::Flow(flow).to_u64();
                let buffer = self.scratch.whole();
                self.flows.forward((number, socket), target, (&self.epoll, token), buffer);
                if self.sweep.is_none() && !self.flows.is_empty() {
                    self.sweep = Some(Instant::now() + udp::SWEEP);
                }
                Ok(())
            }
            PortSocket::Tcp(_) => self.accept(number),
        }
    }

    fn accept(&mut self, number: usize) -> io::Result<()> {
        for _ in 0..ACCEPTS {
            if self.connections.len() >= tcp::MOST {
                return self.accept_again(false);
            }
            let Some(port) = self.ports.get(number) else { return Ok(()) };
            let PortSocket::Tcp(listener) = &port.socket else { return Ok(()) };
            let client = match listener.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_scarcity(&error) => return self.accept_again(false),
                // A connection that ended before it was accepted (accept(2)).
                Err(_) => continue,
            };
            // Without a target, dropping the client is the answer.
            let Some(target) = self.target(port) else { continue };
            let Ok(connection) = Connection::open(client, target) else { continue };
            let deadline = connection.deadline();
            let number = self.connections.insert(connection);
            self.deadlines.extend(deadline.map(|moment| (moment, number)));
            self.watch(number);
        }
        Ok(())
    }

    fn advance(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        match connection.advance(&mut self.scratch) {
            Ok(true) => self.watch(number),
            Ok(false) => self.close(number, false),
            Err(_) => self.close(number, true),
        }
    }

    fn watch(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        if connection.watch(&self.epoll, tokens(number)).is_err() {
            self.close(number, true);
        }
    }

    fn close(&mut self, number: usize, broken: bool) {
        if let Some(connection) = self.connections.remove(number) {
            connection.close(broken, &mut self.scratch);
        }
        if matches!(self.accepting, Accepting::NotBefore(_)) {
            self.accepting = Accepting::NotBefore(Instant::now());
        }
    }

    fn answer(&mut self, number: usize) {
        let ports = &self.ports;
        let socket_of = |port: usize| -> Option<&UdpSocket> {
            match &ports.get(port)?.socket {
                PortSocket::Udp(socket) => Some(socket),
                PortSocket::Tcp(_) => None,
            }
        };
        self.flows.answer(number, socket_of, self.scratch.whole());
    }

    /// Connections wait in the kernel while there is no room for them here.
    fn accept_again(&mut self, yes: bool) -> io::Result<()> {
        self.accepting = if yes { Accepting::Yes } else { Accepting::NotBefore(Instant::now() + SCARCE) };
        for (number, port) in self.ports.iter().enumerate() {
            if let PortSocket::Tcp(listener) = &port.socket {
                let flags = if yes { EpollFlags::EPOLLIN } else { EpollFlags::empty() };
                self.epoll.modify(listener, &mut EpollEvent::new(flags, Token::Port(number).to_u64()))?;
            }
        }
        Ok(())
    }
}

fn is_scarcity(error: &io::Error) -> bool {
    let scarce = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|number| scarce.contains(&Errno::from_raw(number)))
}
