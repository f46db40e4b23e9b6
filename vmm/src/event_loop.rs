//! What the main thread waits for while the guest runs.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

use crate::control::Control;

/// Everything that can wake the main thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// Somebody has set the machine's cause of ending.
    Ending,
    /// The control socket has bytes, or was closed.
    Control,
    /// A device's host side broke.
    DeviceFailure,
}

impl Token {
    const ALL: [Token; 3] = [Token::Ending, Token::Control, Token::DeviceFailure];

    fn data(self) -> u64 {
        self as u64
    }
}

/// The main thread's poll set.
pub struct EventLoop(Epoll);

impl EventLoop {
    pub fn new(ending: &EventFd, failure: &EventFd, control: Option<&Control>) -> io::Result<Self> {
        let epoll = Self(Epoll::new()?);
        epoll.add(ending.as_raw_fd(), Token::Ending)?;
        epoll.add(failure.as_raw_fd(), Token::DeviceFailure)?;
        if let Some(control) = control {
            let fd = control.as_fd();
            epoll.add(fd.as_raw_fd(), Token::Control)?;
        }
        Ok(epoll)
    }

    fn add(&self, fd: i32, token: Token) -> io::Result<()> {
        self.0.ctl(ControlOperation::Add, fd, EpollEvent::new(EventSet::IN, token.data()))
    }

    /// Waits for the next thing to happen.
    pub fn wait(&self) -> io::Result<Token> {
        let mut event = [EpollEvent::default()];
        loop {
            match self.0.wait(-1, &mut event) {
                Ok(0) => {}
                Ok(_) => {
                    let data = event[0].data();
                    if let Some(token) = Token::ALL.into_iter().find(|token| token.data() == data) {
                        return Ok(token);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
