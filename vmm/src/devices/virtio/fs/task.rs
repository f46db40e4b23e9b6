//! What the device's thread does while the rings are the server's.

use std::io;
use std::sync::Arc;

use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::session::{Session, SessionError, Signals};
use crate::devices::virtio::device::Activation;
use crate::devices::virtio::failure::Failure;
use crate::devices::virtio::interrupt::Interrupt;
use crate::devices::virtio::queue::QueueError;
use crate::devices::virtio::worker::{Poll, Task, TaskError, Token};

pub struct FsTask {
    session: Arc<Session>,
    signals: Signals,
    interrupt: Interrupt,
    failure: Failure,
    /// KVM turns calls into interrupts by itself.
    is_wired: bool,
}

impl FsTask {
    /// Hands the queues to the server, which has them until [`Task::stop`].
    pub fn start(session: Arc<Session>, activation: Activation) -> io::Result<Self> {
        let Activation { memory, features, queues, interrupt, failure } = activation;
        let event = || EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC);
        let signals = Signals { call: Arc::new(event()?), error: event()? };
        let started = session.start(&memory, features, &queues, &signals);
        started.map_err(|error| failed(error, &failure))?;
        // What the server has signalled meanwhile counts.
        let is_wired = interrupt.wire(&signals.call);
        Ok(Self { session, signals, interrupt, failure, is_wired })
    }
}

/// The error for those who need not know what a session is.
fn failed(error: SessionError, failure: &Failure) -> io::Error {
    error.report(failure);
    io::Error::other(error)
}

#[derive(Clone, Copy)]
pub enum Event {
    /// The server has used buffers, and the interrupt is left to us.
    Call,
    /// The server has given a queue up.
    Broken,
    /// The server has ended, or says what nobody asked for.
    Server,
}

impl Token for Event {
    fn encode(self) -> u64 {
        match self {
            Self::Call => 0,
            Self::Broken => 1,
            Self::Server => 2,
        }
    }

    fn decode(data: u64) -> Option<Self> {
        match data {
            0 => Some(Self::Call),
            1 => Some(Self::Broken),
            2 => Some(Self::Server),
            _ => None,
        }
    }
}

impl Task for FsTask {
    type Token = Event;

    fn watch(&mut self, poll: &Poll<Event>) -> io::Result<()> {
        if !self.is_wired {
            poll.add_event(&self.signals.call, Event::Call)?;
        }
        poll.add_event(&self.signals.error, Event::Broken)?;
        poll.add(&*self.session, EventSet::IN | EventSet::READ_HANG_UP, Event::Server)
    }

    fn on_event(&mut self, token: Event, ready: EventSet, _: &Poll<Event>) -> Result<(), TaskError> {
        match token {
            Event::Call => {
                // Fails only when there is nothing to clear.
                let _ = self.signals.call.read();
                self.interrupt.used_buffer();
                Ok(())
            }
            Event::Broken => Err(QueueError::GivenUp.into()),
            Event::Server => Err(failed(Session::interpret(ready), &self.failure).into()),
        }
    }

    /// After this the server touches no guest memory (VirtIO 1.2, 2.4.1).
    fn stop(&mut self) -> Result<(), TaskError> {
        let stopped = self.session.stop();
        self.interrupt.unwire();
        Ok(stopped.map_err(|error| failed(error, &self.failure))?)
    }
}
