//! The streams under way, and what epoll watches for each.

use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, EventData, EventFlags};

use super::Agent;
use super::session::StreamPlan;
use super::slab::Key;
use super::token::Token;
use crate::process::pump::{Direction, Need, Pump};

pub struct Stream {
    pump: Pump,
    watched: Need,
}

impl Agent {
    /// A connection becomes a stream.
    pub(super) fn open_stream(&mut self, socket: OwnedFd, plan: StreamPlan) {
        let StreamPlan { end, direction, task } = plan;
        let pump = match direction {
            Direction::FromContainer => Pump::new(end, Some(socket), direction),
            Direction::ToPipe | Direction::ToTerminal => Pump::new(socket, Some(end), direction),
        };
        let key = self.add_stream(pump);
        if direction == Direction::FromContainer {
            return;
        }
        match self.tasks.get_mut(task) {
            Some(task) if task.process.is_some() => task.stdin = Some(key),
            Some(_) | None => self.close_stream(key),
        }
    }

    /// A container's output that nobody asked for is read all the same, so that it does not stall.
    pub(super) fn discard_output(&mut self, end: OwnedFd) {
        self.add_stream(Pump::new(end, None, Direction::FromContainer));
    }

    fn add_stream(&mut self, pump: Pump) -> Key {
        let key = self.streams.insert(Stream { pump, watched: Need::Nothing });
        self.watch_stream(key, Need::Readable);
        key
    }

    pub(super) fn advance_stream(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        match stream.pump.advance(&mut self.scratch) {
            Need::Nothing => self.close_stream(key),
            need => self.watch_stream(key, need),
        }
    }

    pub(super) fn close_stream(&mut self, key: Key) {
        self.streams.remove(key);
        self.heed_connection_limit();
    }

    /// At any time epoll watches one of a stream's descriptors: the one that holds it up.
    fn watch_stream(&mut self, key: Key, need: Need) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.watched == need {
            return;
        }
        let before = match stream.watched {
            Need::Readable => Some(stream.pump.source()),
            Need::Writable => stream.pump.sink(),
            Need::Nothing => None,
        };
        if let Some(fd) = before {
            let _ = epoll::delete(&self.epoll, fd);
        }
        let (fd, flags) = match need {
            Need::Readable => (Some(stream.pump.source()), EventFlags::IN),
            Need::Writable => (stream.pump.sink(), EventFlags::OUT),
            Need::Nothing => (None, EventFlags::empty()),
        };
        let data = EventData::new_u64(Token::Stream(key).pack());
        let added = fd.map(|fd| epoll::add(&self.epoll, fd, data, flags));
        stream.watched = need;
        if !matches!(added, Some(Ok(()))) {
            self.close_stream(key);
        }
    }
}
