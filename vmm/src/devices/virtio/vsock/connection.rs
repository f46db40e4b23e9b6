//! One connection between a client and a port in the guest.
//!
//! ```text
//!   client ──readable──► [credit of the guest] ──► Data packets ──► guest
//!   client ◄──backlog (our credit to the guest)◄── Data packets ◄── guest
//! ```
//! Each direction ends by itself: the client's EOF becomes SHUTDOWN(send), the guest's SHUTDOWN(send)
//! becomes EOF once the backlog is delivered.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{MsgFlags, send};
use vmm_sys_util::epoll::EventSet;

use super::backlog::Backlog;
use super::credit::{ReceiveCredit, SendCredit};
use super::packet::{Header, Op, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use crate::devices::virtio::chain::{Reader, Short, Slices, Writer};
use crate::devices::virtio::iovec;

/// Data bytes of one packet to the guest, so that the others have their turn.
const MAX_PAYLOAD: usize = 64 * 1024;

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The guest does not know of it yet.
    Announced,
    /// The guest was asked.
    Requested,
    /// The guest has accepted, and the client knows.
    Open,
}

/// From the client to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inbound {
    Open,
    /// The client is at its end, and the guest knows; or the guest listens no more.
    Closed,
}

/// From the guest to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outbound {
    Open,
    /// The guest has said that it is done; the backlog is not.
    Ending,
    /// The client has it all, and EOF.
    Done,
    /// The client reads no more; what the guest sends is dropped.
    Deaf,
}

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Fate {
    Alive,
    /// Over, and the guest knows.
    Over,
    /// Over, and the guest is to be told by RST.
    Reset,
}

/// A packet for the guest; addresses and credit are filled in by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    pub op: Op,
    pub flags: u32,
    /// Bytes of data, which lie behind the header already.
    pub len: u32,
    pub fwd_cnt: u32,
}

pub struct Connection {
    client: UnixStream,
    host_port: u32,
    guest_port: u32,
    stage: Stage,
    inbound: Inbound,
    outbound: Outbound,
    /// The client's socket may have bytes; cleared when it said it has none.
    readable: bool,
    send: SendCredit,
    receive: ReceiveCredit,
    backlog: Backlog,
    /// The guest is to be told how much it may send.
    credit_due: bool,
    /// Flags of the SHUTDOWN that is to be sent, and of those that were.
    shutdown_due: u32,
    shutdown_sent: u32,
    /// Flags of the guest's SHUTDOWNs.
    shutdown_seen: u32,
    /// The client is gone: what is left is for the guest to take, if it ever does.
    hung_up: bool,
    /// Waits for its turn in the muxer's queue.
    pub queued: bool,
}

impl Connection {
    pub fn new(client: UnixStream, host_port: u32, guest_port: u32) -> Self {
        Self {
            client,
            host_port,
            guest_port,
            stage: Stage::Announced,
            inbound: Inbound::Open,
            outbound: Outbound::Open,
            // Nobody has looked; the first read tells.
            readable: true,
            send: SendCredit::default(),
            receive: ReceiveCredit::default(),
            backlog: Backlog::default(),
            credit_due: false,
            shutdown_due: 0,
            shutdown_sent: 0,
            shutdown_seen: 0,
            hung_up: false,
            queued: false,
        }
    }

    pub fn guest_port(&self) -> u32 {
        self.guest_port
    }

    /// Whether nobody on the host waits for anything of it any more.
    pub fn has_hung_up(&self) -> bool {
        self.hung_up
    }

    /// The client's socket has changed.
    pub fn on_client(&mut self, ready: EventSet) -> Fate {
        if ready.intersects(EventSet::HANG_UP | EventSet::ERROR) {
            match self.stage {
                Stage::Announced => return Fate::Over,
                Stage::Requested => return Fate::Reset,
                Stage::Open => {
                    self.hung_up = true;
                    self.go_deaf();
                }
            }
        }
        if ready.intersects(EventSet::IN | EventSet::READ_HANG_UP | EventSet::HANG_UP) {
            self.readable = true;
        }
        if ready.contains(EventSet::OUT) && !self.backlog.is_empty() {
            self.flush();
        }
        Fate::Alive
    }

    /// A packet of the guest for this connection. `data` holds at least the bytes it announces.
    pub fn on_packet(&mut self, header: &Header, data: Reader<'_>) -> Fate {
        self.send.update(header.buf_alloc, header.fwd_cnt);
        match (header.op, self.stage) {
            (Some(Op::Reset), _) => Fate::Over,
            (Some(Op::Response), Stage::Requested) => self.open(),
            (Some(Op::CreditUpdate), Stage::Requested | Stage::Open) => Fate::Alive,
            (Some(Op::CreditRequest), Stage::Open) => {
                self.credit_due = true;
                Fate::Alive
            }
            (Some(Op::Data), Stage::Open) => self.on_data(header.len, data),
            (Some(Op::Shutdown), Stage::Open) => self.on_shutdown(header.flags),
            // Out of order, or no packet at all: there is no going on with such a peer.
            (
                Some(
                    Op::Request
                    | Op::Response
                    | Op::Shutdown
                    | Op::Data
                    | Op::CreditUpdate
                    | Op::CreditRequest,
                )
                | None,
                _,
            ) => Fate::Reset,
        }
    }

    /// Whether [`Self::output`] would have something.
    pub fn wants_turn(&self) -> bool {
        match self.stage {
            Stage::Announced => true,
            Stage::Requested => false,
            Stage::Open => self.shutdown_due != 0 || self.credit_due || self.may_read(),
        }
    }

    /// The next packet for the guest, if there is one; its data goes to `payload`.
    pub fn output(&mut self, payload: &mut Writer<'_>) -> Option<Output> {
        match self.stage {
            Stage::Announced => {
                self.stage = Stage::Requested;
                Some(self.packet(Op::Request, 0, 0))
            }
            Stage::Requested => None,
            Stage::Open => self.open_output(payload),
        }
    }

    /// To be asked after each [`Self::output`].
    pub fn fate(&self) -> Fate {
        if self.shutdown_sent == SHUTDOWN_BOTH { Fate::Over } else { Fate::Alive }
    }

    /// What is left to do when the connection is over: bytes that the guest had sent before.
    pub fn into_rest(self) -> Option<(UnixStream, Backlog)> {
        (!self.backlog.is_empty()).then_some((self.client, self.backlog))
    }

    fn open(&mut self) -> Fate {
        let line = format!("OK {}\n", self.host_port);
        // The first bytes into an empty socket: they fit, or the client is gone.
        match send(self.client.as_raw_fd(), line.as_bytes(), MsgFlags::MSG_NOSIGNAL) {
            Ok(count) if count == line.len() => {
                self.stage = Stage::Open;
                Fate::Alive
            }
            Ok(_) | Err(_) => Fate::Reset,
        }
    }

    fn on_data(&mut self, len: u32, mut data: Reader<'_>) -> Fate {
        let Ok(count) = usize::try_from(len) else { return Fate::Reset };
        if !self.backlog.has_room(count) {
            // More than its credit.
            return Fate::Reset;
        }
        let Ok(mut data) = data.take(count) else { return Fate::Reset };
        match self.outbound {
            Outbound::Ending | Outbound::Done => return Fate::Reset,
            Outbound::Deaf => {}
            Outbound::Open if self.backlog.is_empty() => match self.send_now(&data) {
                Ok(sent) => data.advance(sent),
                Err(_) => self.go_deaf(),
            },
            Outbound::Open => {}
        }
        let kept = if self.outbound == Outbound::Deaf { 0 } else { data.len() };
        self.forwarded(count - kept);
        if kept == 0 {
            return Fate::Alive;
        }
        if self.backlog.push(data).is_err() {
            return Fate::Reset;
        }
        // The client's socket must have said that it is full: only then will it say when it is not.
        self.flush();
        Fate::Alive
    }

    /// From guest memory to the client without a copy in between.
    fn send_now(&self, data: &Slices<'_>) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        match iovec::send(self.client.as_fd(), data) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(0)
            }
            outcome => outcome,
        }
    }

    fn on_shutdown(&mut self, flags: u32) -> Fate {
        self.shutdown_seen |= flags & SHUTDOWN_BOTH;
        if self.shutdown_seen == SHUTDOWN_BOTH {
            // The guest waits for this before it forgets the connection.
            return Fate::Reset;
        }
        if self.shutdown_seen & SHUTDOWN_RECEIVE != 0 && self.inbound == Inbound::Open {
            self.inbound = Inbound::Closed;
            // The client's writes fail from here on. If it is gone, there is no need.
            let _ = self.client.shutdown(Shutdown::Read);
        }
        if self.shutdown_seen & SHUTDOWN_SEND != 0 && self.outbound == Outbound::Open {
            self.outbound = Outbound::Ending;
            self.flush();
        }
        self.settle();
        Fate::Alive
    }

    fn flush(&mut self) {
        match self.backlog.flush(&self.client) {
            Ok(count) => self.forwarded(count),
            Err(_) => self.go_deaf(),
        }
        if self.outbound == Outbound::Ending && self.backlog.is_empty() {
            self.outbound = Outbound::Done;
            // Fails if the client is gone: then it needs no EOF.
            let _ = self.client.shutdown(Shutdown::Write);
        }
        self.settle();
    }

    /// When nothing can flow any more, the guest is told that both directions are shut, which ends the
    /// connection.
    fn settle(&mut self) {
        if self.inbound == Inbound::Closed && matches!(self.outbound, Outbound::Done | Outbound::Deaf) {
            self.shutdown_due |= SHUTDOWN_BOTH & !self.shutdown_sent;
        }
    }

    fn forwarded(&mut self, count: usize) {
        if self.receive.forward(count) {
            self.credit_due = true;
        }
    }

    /// The client takes nothing any more.
    fn go_deaf(&mut self) {
        if matches!(self.outbound, Outbound::Open | Outbound::Ending) {
            self.outbound = Outbound::Deaf;
            self.shutdown_due |= SHUTDOWN_RECEIVE;
        }
        let dropped = self.backlog.clear();
        self.forwarded(dropped);
        self.settle();
    }

    fn may_read(&self) -> bool {
        self.inbound == Inbound::Open && self.readable && self.send.available() > 0
    }

    fn open_output(&mut self, payload: &mut Writer<'_>) -> Option<Output> {
        if self.may_read()
            && !payload.is_empty()
            && let Some(len) = self.read_client(payload)
        {
            return Some(self.packet(Op::Data, 0, len));
        }
        if self.shutdown_due != 0 {
            let flags = std::mem::take(&mut self.shutdown_due);
            self.shutdown_sent |= flags;
            return Some(self.packet(Op::Shutdown, self.shutdown_sent, 0));
        }
        // A buffer too small for data is used up for this, too.
        let starved = payload.is_empty() && self.may_read();
        (self.credit_due || starved).then(|| self.packet(Op::CreditUpdate, 0, 0))
    }

    /// Moves bytes from the client to the guest. None: there are none now, or never again.
    fn read_client(&mut self, payload: &mut Writer<'_>) -> Option<u32> {
        let credit = usize::try_from(self.send.available()).unwrap_or(usize::MAX);
        let room = payload.len().min(credit).min(MAX_PAYLOAD);
        let buffers = payload.take(room).map_err(|Short| ()).ok()?;
        match iovec::receive(self.client.as_fd(), &buffers) {
            Ok(0) => self.end_of_client(),
            Ok(count) => {
                let count = u32::try_from(count).ok()?;
                self.send.spend(count);
                return Some(count);
            }
            // An interrupted call is made again at the next turn.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            Err(_) => {
                self.go_deaf();
                self.end_of_client();
            }
        }
        None
    }

    fn end_of_client(&mut self) {
        self.inbound = Inbound::Closed;
        self.shutdown_due |= SHUTDOWN_SEND;
        self.settle();
    }

    fn packet(&mut self, op: Op, flags: u32, len: u32) -> Output {
        self.credit_due = false;
        Output { op, flags, len, fwd_cnt: self.receive.tell() }
    }
}
