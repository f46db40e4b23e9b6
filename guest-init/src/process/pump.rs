//! Moves the bytes of one stream one way, and never more than the receiver takes: while it does not,
//! nothing is read.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, shutdown};

/// Bytes moved at a time, and the most a pump holds: what a pipe takes (pipe(7)).
pub const CHUNK: usize = 64 * 1024;
/// Chunks moved before others get their turn.
const TURNS: usize = 8;
/// What ends the input of a program that reads a terminal, as ^D does.
const END_OF_TRANSMISSION: u8 = 4;

/// Which way, and what the end of the stream means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a connection to a pipe, which is closed at the end.
    ToPipe,
    /// From a connection to a terminal, which is told the end by a character.
    ToTerminal,
    /// From the container to a connection, half-closed at the end.
    FromContainer,
}

/// What a pump waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Readable,
    Writable,
    /// It is done; its descriptors may be closed.
    Nothing,
}

pub struct Pump {
    source: OwnedFd,
    /// None: a container's output that nobody asked for; it goes nowhere.
    sink: Option<OwnedFd>,
    /// Whether there was a receiver to begin with.
    attended: bool,
    direction: Direction,
    /// Read and not yet written.
    held: Vec<u8>,
    ended: bool,
}

impl Pump {
    pub fn new(source: OwnedFd, sink: Option<OwnedFd>, direction: Direction) -> Self {
        Pump { source, attended: sink.is_some(), sink, direction, held: Vec::new(), ended: false }
    }

    pub fn source(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }

    pub fn sink(&self) -> Option<BorrowedFd<'_>> {
        self.sink.as_ref().map(AsFd::as_fd)
    }

    /// Moves what can be moved now. `scratch` is any buffer of [`CHUNK`] bytes.
    pub fn advance(&mut self, scratch: &mut [u8]) -> Need {
        for _ in 0..TURNS {
            if !self.flush() {
                return Need::Writable;
            }
            // The receiver is gone. The container's next write meets a closed pipe, as it would have
            // without us in between.
            if self.attended && self.sink.is_none() {
                return Need::Nothing;
            }
            if self.ended {
                self.finish();
                return Need::Nothing;
            }
            match rustix::io::read(&self.source, &mut *scratch) {
                // EIO: no process holds the terminal's other end.
                Ok(0) | Err(Errno::IO | Errno::CONNRESET) => self.end(),
                Ok(len) => self.pass_on(scratch.get(..len).unwrap_or_default()),
                Err(Errno::AGAIN | Errno::INTR) => return Need::Readable,
                Err(_) => self.end(),
            }
        }
        if self.held.is_empty() { Need::Readable } else { Need::Writable }
    }

    fn end(&mut self) {
        self.ended = true;
        if self.direction == Direction::ToTerminal {
            self.held.push(END_OF_TRANSMISSION);
        }
    }

    /// Writes without a copy what the receiver takes at once, and keeps the rest.
    fn pass_on(&mut self, bytes: &[u8]) {
        let written = self.write(bytes);
        self.held.extend_from_slice(bytes.get(written..).unwrap_or_default());
    }

    /// False while something is left to be written.
    fn flush(&mut self) -> bool {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let written = self.write(&held);
            self.held = held;
            self.held.drain(..written);
        }
        self.held.is_empty()
    }

    /// How much of `bytes` is dealt with; all of it once the receiver is gone.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let Some(sink) = &self.sink else { return bytes.len() };
        let result = match self.direction {
            Direction::FromContainer => rustix::net::send(sink, bytes, SendFlags::NOSIGNAL),
            Direction::ToPipe | Direction::ToTerminal => rustix::io::write(sink, bytes),
        };
        match result {
            Ok(written) => written,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => {
                self.sink = None;
                bytes.len()
            }
        }
    }

    fn finish(&mut self) {
        if let (Direction::FromContainer, Some(sink)) = (self.direction, &self.sink) {
            let _ = shutdown(sink, Shutdown::Write);
        }
    }
}

#[cfg(test)]
mod tests;
