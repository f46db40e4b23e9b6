//! Descriptor chains as byte streams: first what the device reads, then what it writes.
//!
//! Descriptors are copied out of guest memory once and checked here; buffers are only ever touched
//! through volatile copies or by the kernel, never by reference.

use virtio_queue::DescriptorChain;
use vm_memory::{Bytes, GuestMemory as _, Permissions, VolatileSlice};

use crate::memory::GuestMemory;

/// A chain that no driver may build (VirtIO 1.2, 2.7.5).
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error("Chain {head} is broken: it loops, leaves its table, nests tables or is too long")]
    Broken { head: u16 },
    #[error("Chain {head} has a readable descriptor behind a writable one")]
    Order { head: u16 },
    #[error("Chain {head} has a buffer outside of memory: {len:#x} bytes at {address:#x}")]
    Address { head: u16, address: u64, len: u32 },
}

/// The chain is shorter than the message it should hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("Chain is too short")]
pub struct Short;

/// One chain, taken from the ring.
pub struct Chain<'m> {
    /// Goes back into the used ring.
    pub head: u16,
    pub reader: Reader<'m>,
    pub writer: Writer<'m>,
}

impl<'m> Chain<'m> {
    /// Collects the buffers of a chain. `limit`: descriptors it may have, which is the queue's size
    /// (VirtIO 1.2, 2.7.5.3.1), with a table of its own too.
    pub(super) fn walk(
        descriptors: DescriptorChain<&'m GuestMemory>,
        limit: u16,
        memory: &'m GuestMemory,
    ) -> Result<Self, ChainError> {
        let head = descriptors.head_index();
        let (mut readable, mut writable) = (Slices::default(), Slices::default());
        let (mut count, mut open) = (0, true);
        for descriptor in descriptors {
            count += 1;
            open = descriptor.has_next();
            if count > limit {
                return Err(ChainError::Broken { head });
            }
            if descriptor.is_write_only() {
                writable.push(memory, &descriptor, head)?;
            } else if writable.list.is_empty() {
                readable.push(memory, &descriptor, head)?;
            } else {
                return Err(ChainError::Order { head });
            }
        }
        // The iterator ends without a word where the chain goes wrong; a sound one ends without NEXT.
        if open {
            return Err(ChainError::Broken { head });
        }
        Ok(Self { head, reader: Reader(readable), writer: Writer(writable) })
    }
}

/// A sequence of buffers in guest memory, consumed from the front.
#[derive(Default)]
pub struct Slices<'m> {
    list: Vec<VolatileSlice<'m>>,
    /// Slices before this one are used up.
    next: usize,
    /// Bytes left; at most 2^32, which [`DescriptorChain`] checks.
    len: usize,
}

impl<'m> Slices<'m> {
    fn push(
        &mut self,
        memory: &'m GuestMemory,
        descriptor: &virtio_queue::desc::split::Descriptor,
        head: u16,
    ) -> Result<(), ChainError> {
        let (address, len) = (descriptor.addr(), descriptor.len());
        let outside = || ChainError::Address { head, address: address.0, len };
        let permissions = if descriptor.is_write_only() { Permissions::Write } else { Permissions::Read };
        let count = usize::try_from(len).map_err(|_| outside())?;
        for slice in memory.get_slices(address, count, permissions).map_err(|_| outside())? {
            self.list.push(slice.map_err(|_| outside())?);
        }
        self.len += count;
        Ok(())
    }

    /// Bytes left.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &VolatileSlice<'m>> {
        self.list.iter().skip(self.next)
    }

    /// Drops `count` bytes from the front, or all there are.
    pub fn advance(&mut self, count: usize) {
        let _ = self.take(count.min(self.len));
    }

    /// Splits `count` bytes off the front.
    pub fn take(&mut self, count: usize) -> Result<Slices<'m>, Short> {
        if count > self.len {
            return Err(Short);
        }
        let mut taken = Slices::default();
        while taken.len < count {
            let first = self.list.get_mut(self.next).ok_or(Short)?;
            let want = (count - taken.len).min(first.len());
            let (front, back) = first.split_at(want).map_err(|_| Short)?;
            taken.len += front.len();
            taken.list.push(front);
            self.len -= want;
            *first = back;
            if first.is_empty() {
                self.next += 1;
            }
        }
        Ok(taken)
    }

    /// Copies from the front into `data`, which is filled or untouched.
    pub fn copy_to(&mut self, data: &mut [u8]) -> Result<(), Short> {
        let mut rest = data;
        for slice in self.take(rest.len())?.iter() {
            let (now, later) = rest.split_at_mut(slice.len());
            slice.copy_to(now);
            rest = later;
        }
        Ok(())
    }

    /// Copies all of `data` to the front, or nothing.
    pub fn copy_from(&mut self, data: &[u8]) -> Result<(), Short> {
        let mut rest = data;
        for slice in self.take(rest.len())?.iter() {
            let (now, later) = rest.split_at(slice.len());
            slice.copy_from(now);
            rest = later;
        }
        Ok(())
    }

    /// Writes zeros over all that is left.
    pub fn zero(&mut self) {
        const ZEROS: [u8; 4096] = [0; 4096];
        for slice in self.iter() {
            let mut done = 0;
            while done < slice.len() {
                let count = (slice.len() - done).min(ZEROS.len());
                // In bounds by the line above, the only way to fail.
                let _ = slice.write_slice(&ZEROS[..count], done);
                done += count;
            }
        }
        self.advance(self.len);
    }
}

/// The part of a chain that the device reads.
pub struct Reader<'m>(Slices<'m>);

impl<'m> Reader<'m> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fetches `N` bytes.
    pub fn read<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let mut bytes = [0; N];
        self.0.copy_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Splits off the next `count` bytes, for the kernel to read from.
    pub fn take(&mut self, count: usize) -> Result<Slices<'m>, Short> {
        self.0.take(count)
    }
}

/// The part of a chain that the device writes.
pub struct Writer<'m>(Slices<'m>);

impl<'m> Writer<'m> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn write(&mut self, data: &[u8]) -> Result<(), Short> {
        self.0.copy_from(data)
    }

    /// Splits off the next `count` bytes, for the kernel to write to.
    pub fn take(&mut self, count: usize) -> Result<Slices<'m>, Short> {
        self.0.take(count)
    }
}
