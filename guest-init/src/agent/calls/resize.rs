use super::super::{Agent, Answer};
use super::state_error;
use crate::container::dev;
use crate::error::Step;
use crate::protocol::{CallError, Outcome, ResizeArgs};

impl Agent {
    pub(super) fn resize(&mut self, args: &ResizeArgs) -> Result<Answer, CallError> {
        let key = self.find(&args.container)?;
        let terminal = self.tasks.get(key).and_then(|container| container.terminal.as_ref());
        let Some(terminal) = terminal else {
            return Err(state_error("The container has no terminal"));
        };
        dev::set_size(terminal, args.size).step("set the terminal's size")?;
        Ok(Answer::Now(Outcome::Done))
    }
}
