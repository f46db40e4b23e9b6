//! Bytes of the guest that a client has not taken yet.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

use super::BUF_ALLOC;
use crate::devices::virtio::chain::{Short, Slices};

/// At most [`BUF_ALLOC`] bytes; takes memory only while there are some.
#[derive(Debug, Default)]
pub struct Backlog(VecDeque<u8>);

impl Backlog {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether `count` bytes more are within the credit the guest has.
    pub fn has_room(&self, count: usize) -> bool {
        let limit = usize::try_from(BUF_ALLOC).unwrap_or(usize::MAX);
        self.len().checked_add(count).is_some_and(|total| total <= limit)
    }

    /// Appends; the caller has checked for room.
    pub fn push(&mut self, mut data: Slices<'_>) -> Result<(), Short> {
        let mut piece = [0; 2048];
        while !data.is_empty() {
            let count = data.len().min(piece.len());
            data.copy_to(&mut piece[..count])?;
            self.0.extend(&piece[..count]);
        }
        Ok(())
    }

    /// Writes as much as the client takes. Returns how much that was.
    pub fn flush(&mut self, client: &UnixStream) -> io::Result<usize> {
        let mut total = 0;
        while !self.0.is_empty() {
            match send(client.as_raw_fd(), self.0.as_slices().0, MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => {
                    self.0.drain(..count);
                    total += count;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(total),
                Err(error) => return Err(error.into()),
            }
        }
        self.0 = VecDeque::new();
        Ok(total)
    }

    /// Forgets everything. Returns how much that was.
    pub fn clear(&mut self) -> usize {
        std::mem::take(&mut self.0).len()
    }
}
