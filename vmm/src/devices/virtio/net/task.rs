//! The worker of a network device: runs both directions, each until it stands still.

use std::io;
use std::sync::Arc;

use vmm_sys_util::epoll::EventSet;

use super::port::{Connection, Port};
use super::receive::{self, Receiver};
use super::transmit::{self, Transmitter};
use crate::devices::virtio::alarm::Alarm;
use crate::devices::virtio::worker::{Poll, Task, TaskError, Token};

pub(super) struct NetTask {
    port: Arc<Port>,
    /// None: the link is down.
    connection: Option<Arc<Connection>>,
    /// Those that the driver accepted.
    features: u64,
    receiver: Receiver,
    transmitter: Transmitter,
    rx: Flow,
    tx: Flow,
    rx_due: Alarm,
    tx_due: Alarm,
}

/// Whether a direction moves, and if not what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// There is, or may be, something to move.
    Moving,
    /// For the guest's notification: of packets, or of buffers.
    Guest,
    /// For the wire: for a packet, or for room.
    Wire,
    /// For its alarm.
    Time,
}

#[derive(Clone, Copy)]
pub(super) enum Event {
    /// The driver has notified about receive buffers, or it is this direction's turn again.
    Receive,
    /// The driver has notified about packets, or it is this direction's turn again.
    Transmit,
    /// The wire, or a limit, is another one.
    Port,
    /// The wire has packets, or room.
    Wire,
    ReceiveDue,
    TransmitDue,
}

impl Token for Event {
    fn encode(self) -> u64 {
        match self {
            Self::Receive => 0,
            Self::Transmit => 1,
            Self::Port => 2,
            Self::Wire => 3,
            Self::ReceiveDue => 4,
            Self::TransmitDue => 5,
        }
    }

    fn decode(data: u64) -> Option<Self> {
        match data {
            0 => Some(Self::Receive),
            1 => Some(Self::Transmit),
            2 => Some(Self::Port),
            3 => Some(Self::Wire),
            4 => Some(Self::ReceiveDue),
            5 => Some(Self::TransmitDue),
            _ => None,
        }
    }
}

impl NetTask {
    pub fn new(port: Arc<Port>, features: u64, receiver: Receiver, transmitter: Transmitter) -> Self {
        Self {
            port,
            connection: None,
            features,
            receiver,
            transmitter,
            rx: Flow::Moving,
            tx: Flow::Moving,
            rx_due: Alarm::default(),
            tx_due: Alarm::default(),
        }
    }

    /// Takes up what the port has now.
    fn follow_port(&mut self, poll: &Poll<Event>) {
        self.port.clear_changed();
        self.rx = Flow::Moving;
        self.tx = Flow::Moving;
        let now = self.port.connection();
        let same = match (&self.connection, &now) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        // The old one is closed here: whoever pulled it waits for that.
        self.connection = now;
        let Some(connection) = &self.connection else { return };
        let wire = connection.wire.as_ref();
        // Edge-triggered: what it was ready for is remembered until a call says otherwise.
        let events = EventSet::IN | EventSet::OUT | EventSet::EDGE_TRIGGERED;
        let ready = wire.offload(self.features).and_then(|()| poll.add(&wire.as_fd(), events, Event::Wire));
        if ready.is_err() {
            self.lose();
        }
    }

    /// The host has taken the interface away.
    fn lose(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.port.lose(&connection);
        }
    }

    fn transmit(&mut self, poll: &Poll<Event>) -> Result<(), TaskError> {
        use transmit::Standstill;
        let wire = self.connection.as_ref().map(|connection| connection.wire.as_ref());
        self.tx = match self.transmitter.transmit(wire, &self.port)? {
            Standstill::Empty => Flow::Guest,
            Standstill::Full => Flow::Wire,
            Standstill::TooEarly(wait) => {
                self.tx_due.ring_after(wait, poll, Event::TransmitDue)?;
                Flow::Time
            }
            Standstill::Share => {
                self.transmitter.queue.kick_again();
                Flow::Moving
            }
            Standstill::Lost => {
                self.lose();
                self.transmitter.queue.kick_again();
                Flow::Moving
            }
        };
        Ok(())
    }

    fn receive(&mut self, poll: &Poll<Event>) -> Result<(), TaskError> {
        use receive::Standstill;
        let Some(connection) = &self.connection else {
            self.rx = Flow::Wire;
            return Ok(());
        };
        self.rx = match self.receiver.receive(connection.wire.as_ref(), self.port.throttle())? {
            Standstill::Empty => Flow::Wire,
            Standstill::NoBuffers => Flow::Guest,
            Standstill::TooEarly(wait) => {
                self.rx_due.ring_after(wait, poll, Event::ReceiveDue)?;
                Flow::Time
            }
            Standstill::Share => {
                self.receiver.queue.kick_again();
                Flow::Moving
            }
            Standstill::Lost => {
                self.lose();
                Flow::Wire
            }
        };
        Ok(())
    }
}

/// The event that a direction waits for sets it moving again.
fn resume(flow: &mut Flow, awaited: Flow) {
    if *flow == awaited {
        *flow = Flow::Moving;
    }
}

impl Task for NetTask {
    type Token = Event;

    fn watch(&mut self, poll: &Poll<Event>) -> io::Result<()> {
        poll.add_event(self.receiver.queue.kick(), Event::Receive)?;
        poll.add_event(self.transmitter.queue.kick(), Event::Transmit)?;
        poll.add_event(self.port.changed(), Event::Port)?;
        self.follow_port(poll);
        Ok(())
    }

    fn on_event(&mut self, token: Event, ready: EventSet, poll: &Poll<Event>) -> Result<(), TaskError> {
        match token {
            Event::Receive => {
                self.receiver.queue.clear_kick();
                resume(&mut self.rx, Flow::Guest);
            }
            Event::Transmit => {
                self.transmitter.queue.clear_kick();
                resume(&mut self.tx, Flow::Guest);
            }
            Event::Port => self.follow_port(poll),
            Event::Wire => {
                // An error shows when it is used.
                if ready.intersects(EventSet::IN | EventSet::ERROR | EventSet::HANG_UP) {
                    resume(&mut self.rx, Flow::Wire);
                }
                if ready.intersects(EventSet::OUT | EventSet::ERROR | EventSet::HANG_UP) {
                    resume(&mut self.tx, Flow::Wire);
                }
            }
            Event::ReceiveDue => {
                self.rx_due.silence()?;
                resume(&mut self.rx, Flow::Time);
            }
            Event::TransmitDue => {
                self.tx_due.silence()?;
                resume(&mut self.tx, Flow::Time);
            }
        }
        Ok(())
    }

    fn before_sleep(&mut self, poll: &Poll<Event>) -> Result<(), TaskError> {
        if self.tx == Flow::Moving {
            self.transmit(poll)?;
        }
        if self.rx == Flow::Moving {
            self.receive(poll)?;
        }
        Ok(())
    }
}
