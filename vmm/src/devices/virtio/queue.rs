//! A virtqueue in its two lives: registers that the driver fills in, and a ring in use.
//!
//! The ring itself is the `virtio-queue` crate's. Here a queue has ring methods only once it was
//! checked, and a chain that does not end as the specification says is an error instead of a short
//! chain.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use serde::{Deserialize, Serialize};
use virtio_queue::{Queue as Ring, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::chain::{Chain, ChainError};
use super::interrupt::Interrupt;
use crate::memory::GuestMemory;

/// Bytes of flags and index before the elements of each ring, and of an element (VirtIO 1.2, 2.7.6, 2.7.8).
const AVAIL_HEADER: u64 = 4;
const AVAIL_ELEMENT: u64 = 2;
const USED_HEADER: u64 = 4;
const USED_ELEMENT: u64 = 8;

/// Why a queue cannot be used, or cannot be used any longer. All of it is the guest's doing.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("Queue is not ready")]
    NotReady,
    #[error("Queue size {size} is not a power of two of at most {max}")]
    Size { size: u32, max: u16 },
    #[error(
        "Rings (descriptors {desc:#x}, driver {driver:#x}, device {device:#x}) are not in memory or not aligned"
    )]
    Placement { desc: u64, driver: u64, device: u64 },
    #[error("Failed to use the ring")]
    Ring(#[source] virtio_queue::Error),
    #[error("Buffer {head} has no room for a packet's header")]
    NoRoom { head: u16 },
    #[error("The process that serves the queue has given it up")]
    GivenUp,
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// The registers of one queue, as the driver wrote them; nothing is checked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct QueueConfig {
    pub size: u32,
    pub ready: bool,
    /// Descriptor area, driver area ("available"), device area ("used").
    pub desc: u64,
    pub driver: u64,
    pub device: u64,
}

impl QueueConfig {
    /// Checks it all and yields a queue that starts at index 0. `kick` is what the driver's
    /// notifications arrive at.
    pub fn activate(
        &self,
        max: u16,
        memory: &GuestMemory,
        event_idx: bool,
        kick: Arc<EventFd>,
    ) -> Result<Queue, QueueError> {
        if !self.ready {
            return Err(QueueError::NotReady);
        }
        let mut ring = Ring::new(max).map_err(QueueError::Ring)?;
        u16::try_from(self.size)
            .ok()
            .and_then(|size| ring.try_set_size(size).ok())
            .ok_or(QueueError::Size { size: self.size, max })?;
        ring.set_ready(true);
        ring.set_event_idx(event_idx);
        ring.try_set_desc_table_address(GuestAddress(self.desc))
            .and_then(|()| ring.try_set_avail_ring_address(GuestAddress(self.driver)))
            .and_then(|()| ring.try_set_used_ring_address(GuestAddress(self.device)))
            .ok()
            .filter(|()| ring.is_valid(memory))
            .ok_or(QueueError::Placement { desc: self.desc, driver: self.driver, device: self.device })?;
        Ok(Queue { ring, kick, signalled: 0 })
    }
}

/// A queue in use: lies in guest memory, has a legal size.
pub struct Queue {
    ring: Ring,
    kick: Arc<EventFd>,
    /// Where the used ring stood when it was last decided whether to signal.
    signalled: u16,
}

/// Where the parts of a queue lie in guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub desc: u64,
    pub driver: u64,
    pub device: u64,
}

/// What [`Queue::drain`] has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    All,
    Share,
    /// All up to one that is not to be served yet.
    Held,
}

impl Queue {
    /// Readable when the driver has notified. Call [`Queue::clear_kick`] before looking at the ring.
    pub fn kick(&self) -> &EventFd {
        &self.kick
    }

    /// The same, for whoever wants this queue looked at.
    pub fn shared_kick(&self) -> Arc<EventFd> {
        Arc::clone(&self.kick)
    }

    pub fn clear_kick(&self) {
        // Fails only when there is nothing to clear.
        let _ = self.kick.read();
    }

    /// Comes back to this queue after the other events had their turn.
    pub fn kick_again(&self) {
        // Fails only when the counter is full: then the event is readable already.
        let _ = self.kick.write(1);
    }

    /// Takes the next chain that the driver has made available.
    pub fn pop<'m>(&mut self, memory: &'m GuestMemory) -> Result<Option<Chain<'m>>, QueueError> {
        let mut heads = self.ring.iter(memory).map_err(QueueError::Ring)?;
        let Some(descriptors) = heads.next() else { return Ok(None) };
        Ok(Some(Chain::walk(descriptors, self.ring.size(), memory)?))
    }

    /// Puts the chain that was popped last back, unused.
    pub fn undo_pop(&mut self) {
        self.ring.go_to_previous_position();
    }

    /// Gives a chain back to the driver, `written` bytes of it filled.
    pub fn push(&mut self, memory: &GuestMemory, head: u16, written: u32) -> Result<(), QueueError> {
        self.ring.add_used(memory, head, written).map_err(QueueError::Ring)
    }

    /// Gives back the chains of one message that spans them, each with its bytes filled: the driver sees
    /// all of them or none (VirtIO 1.2, 5.1.6.4.1). They are no more than the queue's size.
    pub fn push_together(&mut self, memory: &GuestMemory, used: &[(u16, u32)]) -> Result<(), QueueError> {
        let Some(((head, written), others)) = used.split_last() else { return Ok(()) };
        let mut next = self.ring.next_used();
        for (head, written) in others {
            let slot = u64::from(next % self.ring.size());
            let element = self.ring.used_ring() + USED_HEADER + slot * USED_ELEMENT;
            let value = u64::from(*written) << 32 | u64::from(*head);
            memory
                .write_obj(value.to_le(), GuestAddress(element))
                .map_err(|source| QueueError::Ring(virtio_queue::Error::GuestMemory(source)))?;
            next = next.wrapping_add(1);
        }
        // The index, which is what the driver looks at, is written with the last one.
        self.ring.set_next_used(next);
        self.push(memory, *head, *written)
    }

    /// For a process outside of this one that is to serve the queue.
    pub fn addresses(&self) -> Addresses {
        let (desc, driver, device) = (self.ring.desc_table(), self.ring.avail_ring(), self.ring.used_ring());
        Addresses { desc, driver, device }
    }

    /// The queue's size as the driver chose it.
    pub fn size(&self) -> u16 {
        self.ring.size()
    }

    /// Asks the driver to notify about chains to come. True: some are there already.
    pub fn enable_kicks(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        self.ring.enable_notification(memory).map_err(QueueError::Ring)
    }

    pub fn disable_kicks(&mut self, memory: &GuestMemory) -> Result<(), QueueError> {
        self.ring.disable_notification(memory).map_err(QueueError::Ring)
    }

    /// Tells the driver about chains given back, if it wants to know.
    pub fn signal(&mut self, memory: &GuestMemory, interrupt: &Interrupt) -> Result<(), QueueError> {
        if self.is_awaited(memory)? {
            interrupt.used_buffer();
        }
        Ok(())
    }

    /// Whether the used ring has passed the index that the driver waits for since this was last asked
    /// (VirtIO 1.2, 2.7.7.2). The ring's own answer does not know of chains given back together.
    fn is_awaited(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        if !self.ring.event_idx_enabled() {
            return Ok(true);
        }
        // What was given back is to be seen before the driver's wish is read.
        fence(Ordering::SeqCst);
        let used_event = self.ring.avail_ring() + AVAIL_HEADER + u64::from(self.ring.size()) * AVAIL_ELEMENT;
        let awaited: u16 = memory
            .load(GuestAddress(used_event), Ordering::Relaxed)
            .map_err(|source| QueueError::Ring(virtio_queue::Error::GuestMemory(source)))?;
        let now = self.ring.next_used();
        let before = std::mem::replace(&mut self.signalled, now);
        let passed = now.wrapping_sub(u16::from_le(awaited)).wrapping_sub(1);
        Ok(passed < now.wrapping_sub(before))
    }

    /// Serves every chain there is with `serve`, which returns how many bytes it wrote. Each is
    /// signalled at once: the next one may take a while.
    pub fn drain(
        &mut self,
        memory: &GuestMemory,
        interrupt: &Interrupt,
        mut serve: impl FnMut(Chain<'_>) -> u32,
    ) -> Result<(), QueueError> {
        self.drain_until(memory, interrupt, |chain| Some(serve(chain)))
    }

    /// The same, up to a chain that `serve` returns None for. It stays the next one, and the driver is not
    /// asked for notifications: there is no use for them until the caller drains again.
    pub fn drain_until(
        &mut self,
        memory: &GuestMemory,
        interrupt: &Interrupt,
        serve: impl FnMut(Chain<'_>) -> Option<u32>,
    ) -> Result<(), QueueError> {
        self.clear_kick();
        self.disable_kicks(memory)?;
        match self.drain_share(memory, interrupt, serve)? {
            Drained::Held => {}
            Drained::Share => self.kick_again(),
            Drained::All => {
                if self.enable_kicks(memory)? {
                    self.kick_again();
                }
            }
        }
        Ok(())
    }

    /// At most one ring full, so that a driver that never stops cannot keep its device from stopping.
    fn drain_share(
        &mut self,
        memory: &GuestMemory,
        interrupt: &Interrupt,
        mut serve: impl FnMut(Chain<'_>) -> Option<u32>,
    ) -> Result<Drained, QueueError> {
        for _ in 0..self.ring.size() {
            let Some(chain) = self.pop(memory)? else { return Ok(Drained::All) };
            let head = chain.head;
            let Some(written) = serve(chain) else {
                self.undo_pop();
                return Ok(Drained::Held);
            };
            self.push(memory, head, written)?;
            self.signal(memory, interrupt)?;
        }
        Ok(Drained::Share)
    }
}

/// Makes the event that a queue's notifications arrive at.
pub(super) fn new_kick() -> io::Result<Arc<EventFd>> {
    EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map(Arc::new)
}
