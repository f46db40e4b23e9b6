//! From the guest's packets onto the wire.

use std::sync::Arc;
use std::time::Duration;

use super::port::Port;
use super::tap::Wire;
use super::{ETHERNET_HEADER, HEADER, MAX_FRAME, SHARE};
use crate::devices::virtio::chain::Chain;
use crate::devices::virtio::interrupt::Interrupt;
use crate::devices::virtio::iovec;
use crate::devices::virtio::queue::{Queue, QueueError};
use crate::devices::virtio::throttle::Direction;
use crate::memory::GuestMemory;

/// Why no more is transmitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standstill {
    /// The guest has nothing; it notifies when it has.
    Empty,
    /// The wire has no room; it tells when it has.
    Full,
    /// The next packet may be sent after this time.
    TooEarly(Duration),
    /// Other events have their turn.
    Share,
    /// The wire leads nowhere.
    Lost,
}

pub(super) struct Transmitter {
    pub queue: Queue,
    memory: Arc<GuestMemory>,
    interrupt: Interrupt,
}

impl Transmitter {
    pub fn new(queue: Queue, memory: Arc<GuestMemory>, interrupt: Interrupt) -> Self {
        Self { queue, memory, interrupt }
    }

    /// Moves packets out of the guest until there is a reason not to. Without a wire they are dropped.
    pub fn transmit(&mut self, wire: Option<&dyn Wire>, port: &Port) -> Result<Standstill, QueueError> {
        self.queue.disable_kicks(&self.memory)?;
        let mut used = false;
        let mut standstill = Standstill::Share;
        for _ in 0..SHARE {
            let Some(chain) = self.queue.pop(&self.memory)? else {
                if self.queue.enable_kicks(&self.memory)? {
                    continue;
                }
                standstill = Standstill::Empty;
                break;
            };
            let head = chain.head;
            if let Err(reason) = send(chain, wire, port) {
                // It stays the next one.
                self.queue.undo_pop();
                standstill = reason;
                break;
            }
            self.queue.push(&self.memory, head, 0)?;
            used = true;
        }
        if used {
            self.queue.signal(&self.memory, &self.interrupt)?;
        }
        Ok(standstill)
    }
}

/// Sends or drops one packet, unless it has to wait.
fn send(mut chain: Chain<'_>, wire: Option<&dyn Wire>, port: &Port) -> Result<(), Standstill> {
    let len = chain.reader.len();
    let Some(wire) = wire else {
        // One that was plugged in just now is for the packets that came after it.
        return if port.is_up() { Err(Standstill::Share) } else { Ok(()) };
    };
    // What is no frame is dropped before it costs anything.
    let Some(frame) = len.checked_sub(HEADER).filter(|len| (ETHERNET_HEADER..=MAX_FRAME).contains(len))
    else {
        return Ok(());
    };
    let frame = u64::try_from(frame).unwrap_or(u64::MAX);
    port.throttle().check(Direction::FromGuest, frame).map_err(Standstill::TooEarly)?;
    let Ok(packet) = chain.reader.take(len) else { return Ok(()) };
    loop {
        let error = iovec::write_packet(wire.as_fd(), &packet).err().and_then(|error| error.raw_os_error());
        match error {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN) => return Err(Standstill::Full),
            // The interface is no more.
            Some(libc::EBADFD) => return Err(Standstill::Lost),
            // Sent; or refused, for what its header says or because the interface is down. It cost as much.
            _ => break,
        }
    }
    port.throttle().count(Direction::FromGuest, frame);
    Ok(())
}
