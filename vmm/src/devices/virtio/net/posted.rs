//! Receive buffers that the driver has posted and the device has in hand, for the kernel to fill.
//!
//! How large a packet is shows only when it is read, so there must be room for the largest; most are small
//! and use up one buffer. Buffers that a packet left over stay in hand for the next one.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use super::{HEADER, NUM_BUFFERS};
use crate::devices::virtio::iovec::{self, MAX_VECTORS};
use crate::devices::virtio::queue::{Queue, QueueError};
use crate::memory::GuestMemory;

/// Vectors kept free in a full set: for one more chain, whose every buffer may lie in two regions of memory.
const SPARE_VECTORS: usize = 512;

struct PostedChain {
    head: u16,
    /// Never zero.
    len: usize,
    vectors: usize,
}

/// The chains in the order in which they were posted, as one run of bytes.
pub(super) struct Posted {
    chains: VecDeque<PostedChain>,
    /// Those of all chains. They point into `memory`.
    vectors: Vec<libc::iovec>,
    bytes: usize,
    memory: Arc<GuestMemory>,
}

// SAFETY: the vectors are addresses in a mapping that lives as long as `memory`, which may be used from any
// thread; only the kernel and volatile writes follow them.
unsafe impl Send for Posted {}

impl Posted {
    pub fn new(memory: Arc<GuestMemory>) -> Self {
        Self { chains: VecDeque::new(), vectors: Vec::new(), bytes: 0, memory }
    }

    /// Takes chains from the queue until there are `chains` of them, or `bytes` of room. False: the queue
    /// has no more, and there is less.
    pub fn gather(&mut self, queue: &mut Queue, chains: usize, bytes: usize) -> Result<bool, QueueError> {
        while self.chains.len() < chains && self.bytes < bytes {
            // More than any driver has reason to use; a packet may be cut off then, as it is its due.
            if self.vectors.len() + SPARE_VECTORS >= MAX_VECTORS {
                break;
            }
            let Some(mut chain) = queue.pop(&self.memory)? else { return Ok(false) };
            let (head, len) = (chain.head, chain.writer.len());
            if len < HEADER {
                return Err(QueueError::NoRoom { head });
            }
            let slices = chain.writer.take(len).map_err(|_| QueueError::NoRoom { head })?;
            let before = self.vectors.len();
            self.vectors.extend(iovec::vectors(&slices));
            self.chains.push_back(PostedChain { head, len, vectors: self.vectors.len() - before });
            self.bytes += len;
        }
        Ok(true)
    }

    /// readv(2): fills the buffers with one packet. Returns its length, or None if there was no room for all
    /// of it, which is then lost.
    pub fn read_packet(&mut self, wire: BorrowedFd<'_>) -> io::Result<Option<usize>> {
        // Taps cut off what has no room and do not tell; a byte behind the last buffer does.
        let mut beyond = 0_u8;
        self.vectors.push(libc::iovec { iov_base: (&raw mut beyond).cast(), iov_len: 1 });
        let count = iovec::count(&self.vectors);
        // SAFETY: each vector but the last is a range of guest memory, which `memory` keeps mapped; the kernel
        // writes there as a device does, and nobody holds a reference into guest memory. The last is a local
        // variable.
        let result = unsafe { libc::readv(wire.as_raw_fd(), self.vectors.as_ptr(), count) };
        self.vectors.pop();
        let read = iovec::outcome(result)?;
        Ok((read <= self.bytes).then_some(read))
    }

    /// The buffers that a packet of `len` bytes has filled, each with its share, are no longer in hand; the
    /// first gets to know how many there are. `used` is where they are listed.
    pub fn complete(&mut self, len: usize, used: &mut Vec<(u16, u32)>) {
        used.clear();
        let (mut rest, mut vectors) = (len, 0);
        while rest > 0 {
            let Some(chain) = self.chains.pop_front() else { break };
            let filled = rest.min(chain.len);
            // A chain has at most 2^32 bytes, and what is read at once fewer by far.
            used.push((chain.head, u32::try_from(filled).unwrap_or(0)));
            rest -= filled;
            vectors += chain.vectors;
            self.bytes -= chain.len;
        }
        let count = u16::try_from(used.len()).unwrap_or(0);
        self.write(NUM_BUFFERS, count.to_le_bytes());
        self.vectors.drain(..vectors);
    }

    /// Writes behind `offset` bytes, where buffers have room.
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) {
        let mut start = 0;
        let mut next = bytes.into_iter().enumerate().peekable();
        for vector in &self.vectors {
            while let Some((index, byte)) = next.next_if(|(index, _)| offset + index < start + vector.iov_len)
            {
                // SAFETY: less than the vector's length behind its start, and not before it, since what lies
                // there found its place in the vectors before; the vector is mapped guest memory.
                unsafe { vector.iov_base.cast::<u8>().add(offset + index - start).write_volatile(byte) };
            }
            start += vector.iov_len;
        }
    }
}
