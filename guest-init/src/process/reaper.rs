//! The one owner of SIGCHLD.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

use crate::sys;

/// Signals as a descriptor: SIGCHLD, and SIGTERM as the wish that the agent ends.
pub struct Reaper {
    signals: OwnedFd,
}

impl Reaper {
    pub fn new() -> Result<Self, Errno> {
        Ok(Reaper { signals: sys::signal_fd(&[libc::SIGCHLD, libc::SIGTERM])? })
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Empties the descriptor; true if SIGTERM was among the signals. Then [`Reaper::next`] has to be
    /// asked until it has no more: signals of many children come as one.
    pub fn acknowledge(&self) -> bool {
        let mut terminated = false;
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        while let Ok(len) = rustix::io::read(&self.signals, &mut info) {
            let number = info.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
            terminated |= len == info.len() && number == Some(libc::SIGTERM.unsigned_abs());
        }
        terminated
    }

    /// A child that has ended, if there is one.
    pub fn next(&self) -> Option<(Pid, WaitStatus)> {
        wait(WaitOptions::NOHANG).ok().flatten()
    }
}
