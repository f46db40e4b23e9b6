//! A connection of a container's to the resolver: one question at a time, each behind its length
//! (RFC 1035, section 4.2.2).

use std::os::fd::OwnedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::Watched;
use crate::agent::session::{Filled, fill};
use crate::protocol::{MAX_DNS_MESSAGE, MIN_DNS_MESSAGE};

pub struct Client {
    pub(super) socket: Watched,
    phase: Phase,
    /// When it last did something, in ticks of no length.
    pub used: u64,
}

enum Phase {
    Length { bytes: [u8; 2], have: usize },
    Question { bytes: Vec<u8>, have: usize },
    Asked,
    Answer { rest: Vec<u8> },
}

const START: Phase = Phase::Length { bytes: [0; 2], have: 0 };

pub enum Step {
    Wait,
    Ask(Vec<u8>),
    /// It has ended, or makes no sense.
    End,
}

impl Client {
    pub fn new(socket: OwnedFd, used: u64) -> Self {
        Client { socket: Watched::new(socket), phase: START, used }
    }

    pub fn answer(&mut self, message: &[u8]) {
        let message = message.get(..message.len().min(MAX_DNS_MESSAGE)).unwrap_or_default();
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes();
        self.phase = Phase::Answer { rest: [&length, message].concat() };
    }

    pub fn waits_for(&self, flows: bool) -> EventFlags {
        match self.phase {
            Phase::Length { .. } | Phase::Question { .. } if flows => EventFlags::IN,
            Phase::Length { .. } | Phase::Question { .. } | Phase::Asked => EventFlags::empty(),
            Phase::Answer { .. } => EventFlags::OUT,
        }
    }

    /// Goes on as far as the socket allows; `flows`: as far as the next question.
    pub fn advance(&mut self, flows: bool) -> Step {
        loop {
            match &mut self.phase {
                Phase::Asked => return Step::Wait,
                Phase::Length { .. } | Phase::Question { .. } if !flows => return Step::Wait,
                Phase::Length { bytes, have } => match fill(&self.socket.fd, bytes, have) {
                    Filled::Whole => match usize::from(u16::from_be_bytes(*bytes)) {
                        0..MIN_DNS_MESSAGE => return Step::End,
                        length => self.phase = Phase::Question { bytes: vec![0; length], have: 0 },
                    },
                    Filled::Part => return Step::Wait,
                    Filled::End => return Step::End,
                },
                Phase::Question { bytes, have } => match fill(&self.socket.fd, bytes, have) {
                    Filled::Whole => {
                        let question = std::mem::take(bytes);
                        self.phase = Phase::Asked;
                        return Step::Ask(question);
                    }
                    Filled::Part => return Step::Wait,
                    Filled::End => return Step::End,
                },
                Phase::Answer { rest } if rest.is_empty() => self.phase = START,
                Phase::Answer { rest } => {
                    match send(&self.socket, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                        Ok(sent) => drop(rest.drain(..sent)),
                        Err(Errno::AGAIN) => return Step::Wait,
                        Err(Errno::INTR) => (),
                        Err(_) => return Step::End,
                    }
                }
            }
        }
    }
}
