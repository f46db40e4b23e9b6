//! The connection to the host: questions out, answers in.

use std::os::fd::OwnedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::Watched;
use crate::agent::session::{Filled, fill};
use crate::agent::token::Token;
use crate::protocol::DnsAnswer;

pub struct Link {
    pub(super) socket: Watched,
    input: Input,
    /// Of one question, what the socket has not taken.
    rest: Vec<u8>,
    broken: bool,
}

enum Input {
    Header { bytes: [u8; 4], have: usize },
    Body { bytes: Vec<u8>, have: usize },
}

const START: Input = Input::Header { bytes: [0; 4], have: 0 };

impl Link {
    pub fn new(socket: OwnedFd) -> Self {
        Link { socket: Watched::new(socket), input: START, rest: Vec::new(), broken: false }
    }

    /// Whether it takes another question.
    pub fn is_idle(&self) -> bool {
        self.rest.is_empty() && !self.broken
    }

    /// Only while it is idle.
    pub fn send(&mut self, frame: Vec<u8>) {
        self.rest = frame;
        self.flush();
    }

    pub fn flush(&mut self) {
        while !self.rest.is_empty() && !self.broken {
            match send(&self.socket, &self.rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => drop(self.rest.drain(..sent)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => (),
                Err(_) => self.broken = true,
            }
        }
    }

    /// The next answer, if a whole one is there.
    pub fn receive(&mut self) -> Option<DnsAnswer> {
        while !self.broken {
            let (bytes, have) = match &mut self.input {
                Input::Header { bytes, have } => (bytes.as_mut_slice(), have),
                Input::Body { bytes, have } => (bytes.as_mut_slice(), have),
            };
            match fill(&self.socket.fd, bytes, have) {
                Filled::Whole => (),
                Filled::Part => return None,
                Filled::End => {
                    self.broken = true;
                    return None;
                }
            }
            let answer = match std::mem::replace(&mut self.input, START) {
                Input::Header { bytes, .. } => DnsAnswer::length(bytes).map(|length| {
                    self.input = Input::Body { bytes: vec![0; length], have: 0 };
                    None
                }),
                Input::Body { bytes, .. } => DnsAnswer::decode(&bytes).map(Some),
            };
            match answer {
                Ok(None) => (),
                Ok(answer) => return answer,
                Err(_) => self.broken = true,
            }
        }
        None
    }

    /// False if it is no longer of use.
    pub fn settle(&mut self, epoll: &OwnedFd) -> bool {
        let output = if self.rest.is_empty() { EventFlags::empty() } else { EventFlags::OUT };
        !self.broken && self.socket.watch(epoll, Token::DnsLink, EventFlags::IN | output)
    }
}
