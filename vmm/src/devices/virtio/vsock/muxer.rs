//! All clients of the device: who they are, whose turn it is, and which packet belongs to whom.

use std::collections::{HashMap, VecDeque};
use std::os::unix::net::UnixStream;

use vmm_sys_util::epoll::EventSet;

use super::backlog::Backlog;
use super::connection::{Connection, Fate, Output};
use super::greeting::{Greeted, Greeting};
use super::packet::{HEADER_BYTES, Header, Op, TYPE_STREAM};
use super::{BUF_ALLOC, HOST_CID, MAX_CLIENTS, READY_PORT};
use crate::devices::virtio::chain::{Reader, Short, Writer};

/// RST packets that may wait for a buffer before the guest's packets do. (Connections add their own:
/// one for each the guest was told of, and none is announced while an RST waits.)
const MAX_RESETS: usize = 256;
/// The host's ports are handed out from here on; below lie those with a meaning.
const FIRST_PORT: u32 = 1024;

/// A client by how far it is.
enum Client {
    Greeting(Greeting),
    /// Until the doorbell rings.
    Waiting {
        client: UnixStream,
        guest_port: u32,
    },
    Connected(Connection),
    /// The connection is over; the client has yet to take the rest.
    Draining {
        client: UnixStream,
        backlog: Backlog,
    },
}

/// A connection by both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ports {
    host: u32,
    guest: u32,
}

pub struct Muxer {
    guest_cid: u64,
    /// By the host's port, which each client has one of for itself.
    clients: HashMap<u32, Client>,
    last_port: u32,
    /// The guest's agent listens.
    doorbell_rung: bool,
    /// Connections with something to send; each at most once.
    turns: VecDeque<u32>,
    /// Go out before anything else.
    resets: VecDeque<Ports>,
}

impl Muxer {
    pub fn new(guest_cid: u64) -> Self {
        Self {
            guest_cid,
            clients: HashMap::new(),
            last_port: FIRST_PORT,
            doorbell_rung: false,
            turns: VecDeque::new(),
            resets: VecDeque::new(),
        }
    }

    /// Clients in whatever state.
    pub fn count(&self) -> usize {
        self.clients.len()
    }

    /// A port for one more client, unless there are too many.
    pub fn free_port(&mut self) -> Option<u32> {
        if self.count() >= MAX_CLIENTS {
            self.reset_hung_up();
        }
        if self.count() >= MAX_CLIENTS {
            return None;
        }
        // Ends: at most MAX_CLIENTS are taken. A port comes back as late as possible, when the guest
        // has long forgotten it.
        loop {
            self.last_port = match self.last_port.checked_add(1) {
                Some(port) if port < u32::MAX => port,
                Some(_) | None => FIRST_PORT,
            };
            if !self.clients.contains_key(&self.last_port) {
                return Some(self.last_port);
            }
        }
    }

    /// Gives up a connection whose client is gone. A guest that takes none of what the client has left
    /// behind must not keep others out with it.
    fn reset_hung_up(&mut self) {
        let hung_up = |(port, client): (&u32, &Client)| match client {
            Client::Connected(connection) if connection.has_hung_up() => Some(*port),
            _ => None,
        };
        if let Some(port) = self.clients.iter().find_map(hung_up) {
            self.decide(port, Fate::Reset);
        }
    }

    /// A client came; its socket does not block.
    pub fn admit(&mut self, port: u32, client: UnixStream) {
        self.clients.insert(port, Client::Greeting(Greeting::new(client)));
    }

    /// A client's socket has changed.
    pub fn on_client(&mut self, port: u32, ready: EventSet) {
        let gone = ready.intersects(EventSet::HANG_UP | EventSet::ERROR);
        match self.clients.get_mut(&port) {
            Some(Client::Greeting(greeting)) => match greeting.read() {
                Greeted::NotYet => {}
                Greeted::Port(guest_port) if !gone => self.greeted(port, guest_port),
                Greeted::Port(_) | Greeted::Never => self.remove(port),
            },
            Some(Client::Waiting { .. }) if gone => self.remove(port),
            Some(Client::Connected(connection)) => {
                let fate = connection.on_client(ready);
                self.decide(port, fate);
            }
            Some(Client::Draining { client, backlog }) => {
                if gone || backlog.flush(client).is_err() || backlog.is_empty() {
                    self.remove(port);
                }
            }
            Some(Client::Waiting { .. }) | None => {}
        }
    }

    /// False while the guest has caused so many answers that it has to take some first.
    pub fn takes_packets(&self) -> bool {
        self.resets.len() < MAX_RESETS
    }

    /// A packet of the guest.
    pub fn on_packet(&mut self, mut packet: Reader<'_>) {
        // Too short for a header, or from or to somewhere else: nobody to answer to.
        let Ok(bytes) = packet.read::<HEADER_BYTES>() else { return };
        let header = Header::parse(bytes);
        if header.src_cid != self.guest_cid || header.dst_cid != HOST_CID {
            return;
        }
        if header.op == Some(Op::Request) && header.dst_port == READY_PORT {
            self.ring();
        }
        let ports = Ports { host: header.dst_port, guest: header.src_port };
        let sound =
            header.kind == TYPE_STREAM && usize::try_from(header.len).is_ok_and(|len| len <= packet.len());
        match self.clients.get_mut(&ports.host) {
            Some(Client::Connected(connection)) if connection.guest_port() == ports.guest => {
                let fate = if sound { connection.on_packet(&header, packet) } else { Fate::Reset };
                self.decide(ports.host, fate);
            }
            // An RST is never answered by another.
            Some(_) | None if header.op == Some(Op::Reset) => {}
            Some(_) | None => self.resets.push_back(ports),
        }
    }

    /// Whether [`Self::output`] may have something.
    pub fn has_output(&self) -> bool {
        !self.resets.is_empty() || !self.turns.is_empty()
    }

    /// Fills one buffer of the guest: returns the bytes written, or none if whoever had the turn had
    /// nothing after all. Fails if the buffer has no room for a header.
    pub fn output(&mut self, mut buffer: Writer<'_>) -> Result<Option<u32>, Short> {
        let mut head = buffer.take(HEADER_BYTES)?;
        if let Some(ports) = self.resets.pop_front() {
            let reset = Output { op: Op::Reset, flags: 0, len: 0, fwd_cnt: 0 };
            head.copy_from(&self.header(ports, reset).bytes())?;
            return Ok(Some(written(0)));
        }
        let Some(host) = self.turns.pop_front() else { return Ok(None) };
        let Some(Client::Connected(connection)) = self.clients.get_mut(&host) else { return Ok(None) };
        connection.queued = false;
        let ports = Ports { host, guest: connection.guest_port() };
        let output = connection.output(&mut buffer);
        let fate = connection.fate();
        self.decide(host, fate);
        let Some(output) = output else { return Ok(None) };
        head.copy_from(&self.header(ports, output).bytes())?;
        Ok(Some(written(output.len)))
    }

    fn header(&self, ports: Ports, output: Output) -> Header {
        Header {
            src_cid: HOST_CID,
            dst_cid: self.guest_cid,
            src_port: ports.host,
            dst_port: ports.guest,
            len: output.len,
            kind: TYPE_STREAM,
            op: Some(output.op),
            flags: output.flags,
            buf_alloc: BUF_ALLOC,
            fwd_cnt: output.fwd_cnt,
        }
    }

    /// The client has said where it wants to go.
    fn greeted(&mut self, port: u32, guest_port: u32) {
        let Some(Client::Greeting(Greeting { client, .. })) = self.clients.remove(&port) else { return };
        if self.doorbell_rung {
            self.connect(port, client, guest_port);
        } else {
            self.clients.insert(port, Client::Waiting { client, guest_port });
        }
    }

    /// The guest's agent listens: whoever waits goes on, in the order they came.
    fn ring(&mut self) {
        self.doorbell_rung = true;
        let waiting =
            |(port, client): (&u32, &Client)| matches!(client, Client::Waiting { .. }).then_some(*port);
        let mut ports = self.clients.iter().filter_map(waiting).collect::<Vec<_>>();
        ports.sort_unstable();
        for port in ports {
            if let Some(Client::Waiting { client, guest_port }) = self.clients.remove(&port) {
                self.connect(port, client, guest_port);
            }
        }
    }

    fn connect(&mut self, port: u32, client: UnixStream, guest_port: u32) {
        let connection = Connection::new(client, port, guest_port);
        self.clients.insert(port, Client::Connected(connection));
        self.decide(port, Fate::Alive);
    }

    /// What becomes of a connection after something has happened to it.
    fn decide(&mut self, port: u32, fate: Fate) {
        let Some(Client::Connected(connection)) = self.clients.get_mut(&port) else { return };
        match fate {
            Fate::Alive => {
                if connection.wants_turn() && !connection.queued {
                    connection.queued = true;
                    self.turns.push_back(port);
                }
                return;
            }
            Fate::Over => {}
            Fate::Reset => {
                self.resets.push_back(Ports { host: port, guest: connection.guest_port() });
            }
        }
        if let Some((client, backlog)) = self.take_connection(port).and_then(Connection::into_rest) {
            self.clients.insert(port, Client::Draining { client, backlog });
        }
    }

    fn take_connection(&mut self, port: u32) -> Option<Connection> {
        match self.clients.remove(&port) {
            Some(Client::Connected(connection)) => {
                if connection.queued {
                    self.turns.retain(|other| *other != port);
                }
                Some(connection)
            }
            Some(Client::Greeting(_) | Client::Waiting { .. } | Client::Draining { .. }) | None => None,
        }
    }

    /// Closes a client that the guest knows nothing of.
    fn remove(&mut self, port: u32) {
        self.clients.remove(&port);
    }
}

/// Bytes of a packet with `len` bytes of data.
fn written(len: u32) -> u32 {
    // The header is 44 bytes long.
    len.saturating_add(u32::try_from(HEADER_BYTES).unwrap_or(0))
}
