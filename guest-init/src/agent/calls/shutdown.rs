use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::session::{Progress, Then};
use super::super::slab::Key;
use super::super::{Agent, Answer};
use crate::protocol::Outcome;

/// How long the host may take to read the answer before the end comes all the same.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

impl Agent {
    /// Deletes everything and answers, then waits for the host to have read that: a machine that is
    /// switched off takes what its vsock still holds with it.
    pub(super) fn shutdown(&mut self, session: Key) -> Answer {
        self.end_all();
        self.finished = true;
        if let Some(session) = self.sessions.get_mut(session) {
            session.reply(Ok(Outcome::Done), Then::Close);
            while let Progress::Watch(_) = session.advance(rustix::event::epoll::EventFlags::empty()) {
                let mut writable = [PollFd::new(session.socket(), PollFlags::OUT)];
                if !matches!(poll(&mut writable, Some(&PATIENCE)), Ok(1..)) {
                    break;
                }
            }
            let _ = rustix::net::shutdown(session.socket(), rustix::net::Shutdown::Write);
            let mut closed = [PollFd::new(session.socket(), PollFlags::RDHUP)];
            let _ = poll(&mut closed, Some(&PATIENCE));
        }
        Answer::Now(Outcome::Done)
    }
}
