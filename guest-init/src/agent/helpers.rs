//! Children that do what may block, and answer the call themselves.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use super::session::{Pending, encode};
use super::slab::Key;
use super::{Agent, Answer};
use crate::error::Step;
use crate::protocol::{CallError, Outcome};
use crate::sys::{self, Fork};

pub struct Helper {
    process: Pid,
    /// Whose connection it answers on.
    session: Key,
}

impl Agent {
    /// Forks a child for `job`, in which of all descriptors only `kept` are open.
    pub(super) fn help(
        &mut self,
        session: Key,
        mut kept: Vec<RawFd>,
        job: impl FnOnce(&Self) -> Result<Outcome, CallError>,
    ) -> Result<Answer, CallError> {
        // SAFETY: the agent has a single thread.
        match unsafe { sys::fork() }.step("fork a helper")? {
            Fork::Parent(process) => {
                self.helpers.push(Helper { process, session });
                Ok(Answer::Later(Pending::Helper(process)))
            }
            Fork::Child => {
                let Some(session) = self.sessions.get(session) else { sys::exit_now(1) };
                kept.push(session.socket().as_raw_fd());
                sys::close_all_but(&mut kept);
                let _ = set_parent_process_death_signal(Some(Signal::KILL));
                let answered = send_all(session.socket(), &encode(job(self)));
                sys::exit_now(i32::from(answered.is_err()))
            }
        }
    }

    /// True if `pid` was one. It has answered, or died: either way the call is over.
    pub(super) fn on_helper_exit(&mut self, pid: Pid) -> bool {
        let Some(at) = self.helpers.iter().position(|helper| helper.process == pid) else { return false };
        let helper = self.helpers.swap_remove(at);
        self.close_session(helper.session);
        true
    }

    /// The connection of a call that `process` works on is gone.
    pub(super) fn cancel_helper(&self, process: Pid) {
        // Only while it is listed is the number its own.
        if self.helpers.iter().any(|helper| helper.process == process) {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

/// The socket does not block, since the agent's copy must not.
pub(super) fn send_all(socket: &OwnedFd, mut rest: &[u8]) -> Result<(), Errno> {
    while !rest.is_empty() {
        match send(socket, rest, SendFlags::NOSIGNAL) {
            Ok(len) => rest = rest.get(len..).unwrap_or_default(),
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(socket, PollFlags::OUT)], None)?;
            }
            Err(Errno::INTR) => (),
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}
