//! The worker of the socket device: moves packets between the queues and the [`Muxer`].

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use vmm_sys_util::epoll::EventSet;

use super::muxer::Muxer;
use crate::devices::virtio::interrupt::Interrupt;
use crate::devices::virtio::queue::{Queue, QueueError};
use crate::devices::virtio::worker::{Poll, Task, TaskError, Token};
use crate::memory::GuestMemory;

/// Packets in one go and one direction, before other events have their turn.
const SHARE: usize = 256;

pub(super) struct VsockTask {
    memory: Arc<GuestMemory>,
    interrupt: Interrupt,
    rx: Queue,
    tx: Queue,
    /// For a change of the guest's address, which never happens; its buffers stay where they are.
    events: Queue,
    listener: UnixListener,
    muxer: Muxer,
    /// The guest has, or may have, packets for us.
    tx_pending: bool,
    /// There was no descriptor or memory for a client: it waits in the listener, for the next event or
    /// the next client that goes.
    accept_failed: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Event {
    Receive,
    Transmit,
    Transport,
    Listener,
    Client(u32),
}

impl Token for Event {
    fn encode(self) -> u64 {
        match self {
            Self::Receive => 0,
            Self::Transmit => 1,
            Self::Transport => 2,
            Self::Listener => 3,
            Self::Client(port) => (1 << 32) | u64::from(port),
        }
    }

    fn decode(data: u64) -> Option<Self> {
        match (data >> 32, data & 0xffff_ffff) {
            (0, 0) => Some(Self::Receive),
            (0, 1) => Some(Self::Transmit),
            (0, 2) => Some(Self::Transport),
            (0, 3) => Some(Self::Listener),
            (1, port) => u32::try_from(port).ok().map(Self::Client),
            _ => None,
        }
    }
}

impl VsockTask {
    pub fn new(
        memory: Arc<GuestMemory>,
        interrupt: Interrupt,
        [rx, tx, events]: [Queue; 3],
        listener: UnixListener,
        muxer: Muxer,
    ) -> Self {
        let (tx_pending, accept_failed) = (false, false);
        Self { memory, interrupt, rx, tx, events, listener, muxer, tx_pending, accept_failed }
    }

    /// Takes every client there is.
    fn accept(&mut self, poll: &Poll<Event>) {
        loop {
            let client = match self.listener.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.accept_failed = error.kind() != io::ErrorKind::WouldBlock;
                    return;
                }
            };
            // Dropping the client is the refusal, here and below.
            let Some(port) = self.muxer.free_port() else { continue };
            // Edge-triggered: the muxer remembers what it was told until a call says otherwise.
            let events = EventSet::IN | EventSet::OUT | EventSet::READ_HANG_UP | EventSet::EDGE_TRIGGERED;
            if client.set_nonblocking(true).is_ok() && poll.add(&client, events, Event::Client(port)).is_ok()
            {
                self.muxer.admit(port, client);
            }
        }
    }

    /// Packets of the guest.
    fn transmit(&mut self) -> Result<(), QueueError> {
        self.tx.disable_kicks(&self.memory)?;
        let mut used = false;
        for _ in 0..SHARE {
            if !self.tx_pending || !self.muxer.takes_packets() {
                break;
            }
            let Some(chain) = self.tx.pop(&self.memory)? else {
                self.tx_pending = self.tx.enable_kicks(&self.memory)?;
                continue;
            };
            self.muxer.on_packet(chain.reader);
            self.tx.push(&self.memory, chain.head, 0)?;
            used = true;
        }
        if used { self.tx.signal(&self.memory, &self.interrupt) } else { Ok(()) }
    }

    /// Packets for the guest, for as long as it has buffers.
    fn receive(&mut self) -> Result<(), QueueError> {
        let (mut used, mut left) = (false, SHARE);
        while self.muxer.has_output() && left > 0 {
            let Some(chain) = self.rx.pop(&self.memory)? else {
                // Only now does it matter when the guest adds some.
                if self.rx.enable_kicks(&self.memory)? {
                    continue;
                }
                break;
            };
            left -= 1;
            let head = chain.head;
            match self.muxer.output(chain.writer).map_err(|_| QueueError::NoRoom { head })? {
                Some(written) => {
                    self.rx.push(&self.memory, head, written)?;
                    used = true;
                }
                None => self.rx.undo_pop(),
            }
        }
        if left == 0 {
            self.rx.kick_again();
        }
        if used { self.rx.signal(&self.memory, &self.interrupt) } else { Ok(()) }
    }
}

impl Task for VsockTask {
    type Token = Event;

    fn watch(&mut self, poll: &Poll<Event>) -> io::Result<()> {
        poll.add_event(self.rx.kick(), Event::Receive)?;
        poll.add_event(self.tx.kick(), Event::Transmit)?;
        poll.add_event(self.events.kick(), Event::Transport)?;
        poll.add(&self.listener, EventSet::IN | EventSet::EDGE_TRIGGERED, Event::Listener)
    }

    fn on_event(&mut self, token: Event, ready: EventSet, poll: &Poll<Event>) -> Result<(), TaskError> {
        match token {
            Event::Receive => self.rx.clear_kick(),
            Event::Transmit => {
                self.tx.clear_kick();
                self.tx_pending = true;
            }
            Event::Transport => self.events.clear_kick(),
            Event::Listener => self.accept(poll),
            Event::Client(port) => self.muxer.on_client(port, ready),
        }
        if self.accept_failed {
            self.accept(poll);
        }
        Ok(())
    }

    fn before_sleep(&mut self, _: &Poll<Event>) -> Result<(), TaskError> {
        let clients = self.muxer.count();
        if self.tx_pending {
            self.transmit()?;
        }
        self.receive()?;
        if self.accept_failed && self.muxer.count() < clients {
            // There is a descriptor again; any event makes the next attempt.
            self.rx.kick_again();
        }
        if self.tx_pending && self.muxer.takes_packets() {
            self.tx.kick_again();
        }
        Ok(())
    }
}
