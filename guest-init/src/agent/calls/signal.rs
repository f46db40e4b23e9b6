use super::super::session::invalid;
use super::super::{Agent, Answer};
use super::state_error;
use crate::container::task::Freeze;
use crate::error::Step;
use crate::protocol::{CallError, Outcome, SignalArgs};
use crate::sys;

/// SIGRTMAX.
const LAST_SIGNAL: u8 = 64;
const SIGKILL: u8 = 9;

impl Agent {
    pub(super) fn signal(&mut self, args: &SignalArgs) -> Result<Answer, CallError> {
        if args.signal == 0 || args.signal > LAST_SIGNAL {
            return Err(invalid(format!("signal: there is no signal {}", args.signal)));
        }
        let key = self.find(&args.container)?;
        let Some(process) = self.running(key)?.process else {
            return Err(state_error("It is not running"));
        };
        sys::kill(process, args.signal).step("signal the container's process")?;
        if args.signal == SIGKILL && self.freeze_of(key) != Freeze::Running {
            // On v1 what is frozen does not even die.
            self.thaw(key)?;
        }
        Ok(Answer::Now(Outcome::Done))
    }
}
