//! One connection, from its request to its reply.

use std::os::fd::OwnedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::Pid;

use super::slab::Key;
use crate::process::pump::Direction;
use crate::protocol::{CallError, ErrorKind, FrameError, Outcome, Reply, Request, decode_len, write_frame};

pub struct Session {
    socket: OwnedFd,
    phase: Phase,
    /// What epoll watches the socket for.
    pub watched: Option<EventFlags>,
}

enum Phase {
    Header { bytes: [u8; 4], have: usize },
    Body { bytes: Vec<u8>, have: usize },
    Pending(Pending),
    Reply { bytes: Vec<u8>, sent: usize, then: Then },
}

/// A call that is answered later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    Create(Key),
    Start(Key),
    Wait(Key),
    Delete(Key),
    Pause(Key),
    /// A child answers it.
    Helper(Pid),
}

/// What becomes of the connection after the reply.
pub enum Then {
    Close,
    Stream(StreamPlan),
    /// It carries the sandbox's questions for names.
    Questions,
}

/// The connection will be one side of a stream, `end` the other.
pub struct StreamPlan {
    pub end: OwnedFd,
    pub direction: Direction,
    pub task: Key,
}

/// What a session needs next.
pub enum Progress {
    /// To be called again when the socket is ready for that.
    Watch(EventFlags),
    Request(Box<Result<Request, CallError>>),
    /// The peer is gone. It may have left a call behind.
    Gone(Option<Pending>),
    /// The reply is out.
    Replied,
}

impl Session {
    pub fn new(socket: OwnedFd) -> Self {
        Session { socket, phase: Phase::Header { bytes: [0; 4], have: 0 }, watched: None }
    }

    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    pub fn into_parts(self) -> (OwnedFd, Then) {
        match self.phase {
            Phase::Reply { then, .. } => (self.socket, then),
            Phase::Header { .. } | Phase::Body { .. } | Phase::Pending(_) => (self.socket, Then::Close),
        }
    }

    pub fn wait_for(&mut self, pending: Pending) {
        self.phase = Phase::Pending(pending);
    }

    pub fn reply(&mut self, result: Result<Outcome, CallError>, then: Then) {
        self.phase = Phase::Reply { bytes: encode(result), sent: 0, then };
    }

    /// Goes on as far as the socket allows. `events` is what epoll said, empty at the first call.
    pub fn advance(&mut self, events: EventFlags) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Header { bytes, have } => match fill(&self.socket, bytes, have) {
                    Filled::Whole => match decode_len(*bytes) {
                        Ok(len) => self.phase = Phase::Body { bytes: vec![0; len], have: 0 },
                        Err(error) => return refused(&error),
                    },
                    Filled::Part => return Progress::Watch(EventFlags::IN),
                    Filled::End => return Progress::Gone(None),
                },
                Phase::Body { bytes, have } => match fill(&self.socket, bytes, have) {
                    Filled::Whole => return Progress::Request(Box::new(decode(bytes))),
                    Filled::Part => return Progress::Watch(EventFlags::IN),
                    Filled::End => return Progress::Gone(None),
                },
                Phase::Pending(pending) => {
                    let gone = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
                    return if events.intersects(gone) {
                        Progress::Gone(Some(*pending))
                    } else {
                        Progress::Watch(EventFlags::RDHUP)
                    };
                }
                Phase::Reply { bytes, sent, .. } => {
                    let rest = bytes.get(*sent..).unwrap_or_default();
                    if rest.is_empty() {
                        return Progress::Replied;
                    }
                    match send(&self.socket, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                        Ok(len) => *sent += len,
                        Err(Errno::AGAIN | Errno::INTR) => return Progress::Watch(EventFlags::OUT),
                        Err(_) => return Progress::Gone(None),
                    }
                }
            }
        }
    }
}

/// A reply as it goes out.
pub fn encode(result: Result<Outcome, CallError>) -> Vec<u8> {
    let reply = match result {
        Ok(outcome) => Reply::Ok(outcome),
        Err(error) => Reply::Error(error),
    };
    let mut bytes = Vec::with_capacity(256);
    if write_frame(&mut bytes, &reply).is_err() {
        // Longer than a frame: only a list of very many containers could be.
        bytes.clear();
        let message = "The reply does not fit into a frame".to_owned();
        let error = CallError { kind: ErrorKind::Setup, message };
        let _ = write_frame(&mut bytes, &Reply::Error(error));
    }
    bytes
}

pub enum Filled {
    Whole,
    Part,
    End,
}

/// Reads until `bytes` is full.
pub fn fill(socket: &OwnedFd, bytes: &mut [u8], have: &mut usize) -> Filled {
    while let Some(rest) = bytes.get_mut(*have..).filter(|rest| !rest.is_empty()) {
        match recv(socket, rest, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Filled::End,
            Ok((len, _)) => *have += len,
            Err(Errno::AGAIN) => return Filled::Part,
            Err(Errno::INTR) => (),
            Err(_) => return Filled::End,
        }
    }
    Filled::Whole
}

fn decode(bytes: &[u8]) -> Result<Request, CallError> {
    serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))
}

fn refused(error: &FrameError) -> Progress {
    Progress::Request(Box::new(Err(invalid(error.to_string()))))
}

pub fn invalid(message: String) -> CallError {
    CallError { kind: ErrorKind::Invalid, message }
}
