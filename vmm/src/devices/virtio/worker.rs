//! A device's thread: owns its queues, waits on a poll set, ends when told.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};
use std::thread::{Builder, JoinHandle};

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::failure::Failure;
use super::interrupt::Interrupt;
use super::queue::QueueError;
use crate::lifecycle::{ExitCause, in_words};

/// Enough for the deepest task; each device has a thread, and stacks count as private memory.
const STACK_BYTES: usize = 128 * 1024;
/// Events fetched at once.
const BATCH: usize = 32;
/// Poll data of the worker's own event; no token encodes to it.
const STOP: u64 = u64::MAX;

/// Why a task cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The guest broke its rings; it may reset the device.
    #[error(transparent)]
    Guest(#[from] QueueError),
    /// The host ran out of something.
    #[error(transparent)]
    Host(#[from] io::Error),
}

/// What a descriptor in a poll set stands for. Each task has an enum of its own.
pub trait Token: Copy + Send {
    /// Anything but `u64::MAX`.
    fn encode(self) -> u64;
    /// None for what `encode` never yields.
    fn decode(data: u64) -> Option<Self>;
}

/// A poll set that knows its tokens. Closing a descriptor takes it out.
pub struct Poll<T> {
    epoll: Epoll,
    tokens: PhantomData<T>,
}

impl<T: Token> Poll<T> {
    pub fn add(&self, fd: &impl AsFd, events: EventSet, token: T) -> io::Result<()> {
        self.add_raw(fd.as_fd().as_raw_fd(), events, token.encode())
    }

    /// For event descriptors, which the `vmm-sys-util` crate gives only by number.
    pub fn add_event(&self, event: &EventFd, token: T) -> io::Result<()> {
        self.add_raw(event.as_raw_fd(), EventSet::IN, token.encode())
    }

    fn add_raw(&self, fd: i32, events: EventSet, data: u64) -> io::Result<()> {
        self.epoll.ctl(ControlOperation::Add, fd, EpollEvent::new(events, data))
    }
}

/// What a worker does between waits.
pub trait Task: Send + 'static {
    type Token: Token;

    /// Fills the poll set, once.
    fn watch(&mut self, poll: &Poll<Self::Token>) -> io::Result<()>;

    fn on_event(
        &mut self,
        token: Self::Token,
        ready: EventSet,
        poll: &Poll<Self::Token>,
    ) -> Result<(), TaskError>;

    /// All events of one wait were handed out; the task is about to sleep.
    fn before_sleep(&mut self, _: &Poll<Self::Token>) -> Result<(), TaskError> {
        Ok(())
    }

    /// The last thing, however the task came to its end. A task whose queues somebody else serves takes them
    /// back here: once the thread is gone the device touches no guest memory.
    fn stop(&mut self) -> Result<(), TaskError> {
        Ok(())
    }
}

/// A running task. Dropping it stops the thread and waits for its end.
pub struct Worker {
    stop: EventFd,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub fn spawn<T: Task>(
        device: &'static str,
        mut task: T,
        interrupt: Interrupt,
        failure: Failure,
    ) -> io::Result<Self> {
        let poll = Poll { epoll: Epoll::new()?, tokens: PhantomData };
        let stop = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        poll.add_raw(stop.as_raw_fd(), EventSet::IN, STOP)?;
        task.watch(&poll)?;
        let thread = Builder::new().name(device.to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let served = serve(&mut task, &poll);
            // If both fail, the second is a consequence.
            match served.and(task.stop()) {
                Ok(()) => {}
                Err(TaskError::Guest(_)) => interrupt.needs_reset(),
                Err(TaskError::Host(error)) => {
                    interrupt.needs_reset();
                    let reason = format!("Device {device} failed: {}", in_words(&error));
                    failure.report(ExitCause::DeviceFailed { reason });
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails only when the counter is full: then the event is readable already.
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            // A panic was printed by its thread; there is nothing to add.
            let _ = thread.join();
        }
    }
}

/// Runs until stopped, or until the task cannot go on.
fn serve<T: Task>(task: &mut T, poll: &Poll<T::Token>) -> Result<(), TaskError> {
    let mut events = [EpollEvent::default(); BATCH];
    loop {
        let count = match poll.epoll.wait(-1, &mut events) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        for event in events.iter().take(count) {
            if event.data() == STOP {
                return Ok(());
            }
            if let Some(token) = T::Token::decode(event.data()) {
                task.on_event(token, event.event_set(), poll)?;
            }
        }
        task.before_sleep(poll)?;
    }
}
