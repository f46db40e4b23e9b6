//! A task's alarm: wakes it when something that had to wait may be done.

use std::io;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use vmm_sys_util::epoll::EventSet;

use super::worker::{Poll, Token};

/// A timer that is made when it is first needed: most tasks never have to wait.
#[derive(Default)]
pub struct Alarm(Option<TimerFd>);

impl Alarm {
    /// Rings once, as `token`; what was set before is forgotten. Not after no time at all.
    pub fn ring_after<T: Token>(&mut self, wait: Duration, poll: &Poll<T>, token: T) -> io::Result<()> {
        let timer = match &mut self.0 {
            Some(timer) => timer,
            empty => {
                let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
                let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
                poll.add(&timer, EventSet::IN, token)?;
                empty.insert(timer)
            }
        };
        Ok(timer.set(Expiration::OneShot(TimeSpec::from_duration(wait)), TimerSetTimeFlags::empty())?)
    }

    /// To be called when it has rung. Disarms it instead of reading it, which would wait if it was set
    /// again meanwhile.
    pub fn silence(&self) -> io::Result<()> {
        match &self.0 {
            Some(timer) => Ok(timer.unset()?),
            None => Ok(()),
        }
    }
}
