//! From the wire into the guest's buffers.

use std::sync::Arc;
use std::time::Duration;

use super::posted::Posted;
use super::tap::Wire;
use super::{HEADER, SHARE};
use crate::devices::virtio::interrupt::Interrupt;
use crate::devices::virtio::queue::{Queue, QueueError};
use crate::devices::virtio::throttle::{Direction, Throttle};
use crate::memory::GuestMemory;

/// Packets after which the guest is told, so that it works on them while more are read.
const SIGNAL_EVERY: usize = 16;

/// Why no more is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standstill {
    /// The wire has nothing; it tells when it has.
    Empty,
    /// The guest has posted too few buffers; it notifies when there are more.
    NoBuffers,
    /// The next packet may be received after this time.
    TooEarly(Duration),
    /// Other events have their turn.
    Share,
    /// The wire leads nowhere.
    Lost,
}

pub(super) struct Receiver {
    pub queue: Queue,
    posted: Posted,
    memory: Arc<GuestMemory>,
    interrupt: Interrupt,
    /// A packet may span chains (VIRTIO_NET_F_MRG_RXBUF).
    merges: bool,
    /// Room that is waited for before a packet is read.
    largest: usize,
    /// The chains of the packet at hand.
    used: Vec<(u16, u32)>,
}

impl Receiver {
    pub fn new(
        queue: Queue,
        memory: Arc<GuestMemory>,
        interrupt: Interrupt,
        merges: bool,
        largest: usize,
    ) -> Self {
        let posted = Posted::new(Arc::clone(&memory));
        Self { queue, posted, memory, interrupt, merges, largest, used: Vec::new() }
    }

    /// Moves packets into the guest until there is a reason not to.
    pub fn receive(&mut self, wire: &dyn Wire, throttle: &Throttle) -> Result<Standstill, QueueError> {
        self.queue.disable_kicks(&self.memory)?;
        let mut unsignalled = 0;
        let mut standstill = Standstill::Share;
        for _ in 0..SHARE {
            if let Err(wait) = throttle.check(Direction::ToGuest, 0) {
                standstill = Standstill::TooEarly(wait);
                break;
            }
            if !self.has_room()? {
                // Only now does it matter when the guest adds some.
                if self.queue.enable_kicks(&self.memory)? {
                    continue;
                }
                standstill = Standstill::NoBuffers;
                break;
            }
            match self.receive_one(wire, throttle) {
                Ok(received) => unsignalled += usize::from(received?),
                Err(reason) => {
                    standstill = reason;
                    break;
                }
            }
            if unsignalled == SIGNAL_EVERY {
                self.queue.signal(&self.memory, &self.interrupt)?;
                unsignalled = 0;
            }
        }
        if unsignalled > 0 {
            self.queue.signal(&self.memory, &self.interrupt)?;
        }
        Ok(standstill)
    }

    /// Whether any packet fits into the buffers in hand. One that is larger than those a driver has to be
    /// ready for, or than what a full ring of its buffers holds, is lost.
    fn has_room(&mut self) -> Result<bool, QueueError> {
        let chains = if self.merges { self.queue.size().into() } else { 1 };
        self.posted.gather(&mut self.queue, chains, self.largest)
    }

    /// Tells whether the guest got a packet, in the inner result.
    fn receive_one(
        &mut self,
        wire: &dyn Wire,
        throttle: &Throttle,
    ) -> Result<Result<bool, QueueError>, Standstill> {
        let packet = match self.posted.read_packet(wire.as_fd()) {
            Ok(packet) => packet,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::EAGAIN) => Err(Standstill::Empty),
                    // The interface is no more.
                    Some(libc::EBADFD) => Err(Standstill::Lost),
                    // Interrupted, or a packet that the kernel could not hand over.
                    _ => Ok(Ok(false)),
                };
            }
        };
        // Shorter than its header: from a wire that is no tap, at its end.
        let Some(len) = packet.filter(|len| *len > HEADER) else { return Ok(Ok(false)) };
        throttle.count(Direction::ToGuest, u64::try_from(len - HEADER).unwrap_or(u64::MAX));
        self.posted.complete(len, &mut self.used);
        Ok(self.queue.push_together(&self.memory, &self.used).map(|()| true))
    }
}
