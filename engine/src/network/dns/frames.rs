//! The agent's stream: questions in, answers out, both in bounded buffers, and neither is waited for.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use hull_guest::protocol::{DnsAnswer, DnsFrameError, DnsQuestion};
use nix::poll::PollFlags;

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// Answers an agent may leave unread before it gets empty ones, and before it is asked nothing more.
const MAX_UNREAD: usize = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("Failed to read the agent's questions for names")]
    Read(#[source] io::Error),
    #[error("Failed to answer the agent's questions for names")]
    Write(#[source] io::Error),
    #[error("Failed to wait for questions for names")]
    Wait(#[source] io::Error),
    #[error("The agent's stream of questions for names is no such thing")]
    Frame(#[from] DnsFrameError),
}

pub struct Frames {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
}

impl Frames {
    pub fn new(stream: UnixStream) -> Result<Self, StreamError> {
        stream.set_nonblocking(true).map_err(StreamError::Read)?;
        Ok(Self { stream, input: Vec::new(), output: Vec::new(), written: 0 })
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// What to wait for. An agent that does not read its answers is not read either.
    pub fn interest(&self, wants_questions: bool) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLIN, wants_questions && !self.is_behind());
        flags.set(PollFlags::POLLOUT, self.unread() > 0);
        flags
    }

    fn unread(&self) -> usize {
        self.output.len() - self.written
    }

    pub fn is_behind(&self) -> bool {
        self.unread() > MAX_UNREAD
    }

    /// Reads some of what is there; false at the stream's end.
    pub fn fill(&mut self) -> Result<bool, StreamError> {
        let mut chunk = [0; CHUNK];
        match self.stream.read(&mut chunk) {
            Ok(0) => Ok(false),
            Ok(length) => {
                self.input.extend_from_slice(chunk.get(..length).unwrap_or_default());
                Ok(true)
            }
            Err(error) if is_passing(&error) => Ok(true),
            Err(error) => Err(StreamError::Read(error)),
        }
    }

    /// Takes the next whole question. What is not whole is at most one question and a chunk.
    pub fn next(&mut self) -> Result<Option<DnsQuestion>, StreamError> {
        let Some((header, rest)) = self.input.split_first_chunk() else { return Ok(None) };
        let length = DnsQuestion::length(*header)?;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let question = DnsQuestion::decode(body)?;
        self.input.drain(..header.len() + length);
        Ok(Some(question))
    }

    /// Queues an answer and sends what the agent takes. An empty one: there will be none.
    pub fn answer(&mut self, id: u32, message: &[u8]) -> Result<(), StreamError> {
        let message = if self.is_behind() { &[] } else { message };
        self.output.extend(DnsAnswer::encode(id, message));
        self.flush()
    }

    pub fn flush(&mut self) -> Result<(), StreamError> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(StreamError::Write(error)),
            }
        }
        if self.unread() == 0 {
            self.output.clear();
            self.written = 0;
        } else if self.written > CHUNK {
            self.output.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
