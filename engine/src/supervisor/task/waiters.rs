//! Who waits for a container's end.

use super::super::caller::{Caller, state_error};
use super::super::control::{Answer, Exit, Until, WaitArgs};

#[derive(Default)]
pub struct Waiters {
    waiting: Vec<(WaitArgs, Caller)>,
    /// Calls that stop or kill it, answered when it has ended.
    stoppers: Vec<Caller>,
    /// The last end.
    pub last: Exit,
}

impl Waiters {
    /// One more, who is told that the end will be.
    pub fn add(&mut self, args: WaitArgs, caller: Caller) {
        if caller.promise() {
            self.waiting.push((args, caller));
        }
    }

    pub fn add_stopper(&mut self, caller: Option<Caller>) {
        self.stoppers.extend(caller);
    }

    pub fn stopped(&mut self) {
        self.stoppers.drain(..).for_each(Caller::done);
    }

    /// A run has ended and another follows.
    pub fn ended(&mut self, exit: &Exit) {
        self.tell(exit, &[Until::NextExit]);
    }

    /// It has ended for good. Callers that are still there when it is removed see their connection close.
    pub fn at_rest(&mut self, exit: &Exit, removed: bool) {
        let reached: &[Until] = if removed {
            &[Until::NextExit, Until::NotRunning, Until::Removed]
        } else {
            &[Until::NextExit, Until::NotRunning]
        };
        self.tell(exit, reached);
        self.stopped();
    }

    fn tell(&mut self, exit: &Exit, reached: &[Until]) {
        self.last = exit.clone();
        let all = std::mem::take(&mut self.waiting);
        for (args, caller) in all {
            if reached.contains(&args.until) {
                caller.answer(&Ok(Answer::Exited(exit.clone())));
            } else {
                self.waiting.push((args, caller));
            }
        }
    }

    /// Tells a client why its streams have closed.
    pub fn drop_session(&mut self, session: &str) {
        let all = std::mem::take(&mut self.waiting);
        for (args, caller) in all {
            if args.session.as_deref() == Some(session) {
                let why = "Fell 1 MiB behind the container's output and was dropped; hull logs has all of it";
                caller.refuse(state_error(why));
            } else {
                self.waiting.push((args, caller));
            }
        }
    }
}
