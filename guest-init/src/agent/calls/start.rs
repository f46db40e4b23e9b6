use super::super::session::Pending;
use super::super::slab::Key;
use super::super::{Agent, Answer};
use super::state_error;
use crate::container::{Stage, control};
use crate::error::Step;
use crate::protocol::{CallError, ContainerArgs};

impl Agent {
    /// Answered when the control socket closes (the exec has succeeded) or says why not.
    pub(super) fn start(&mut self, session: Key, args: &ContainerArgs) -> Result<Answer, CallError> {
        let key = self.find(&args.container)?;
        let Some(container) = self.containers.get_mut(key).filter(|c| matches!(c.stage, Stage::Created))
        else {
            return Err(state_error("Only a container that was created and not started can start"));
        };
        let Some(control) = &container.control else {
            return Err(state_error("The container's process has ended before it was started"));
        };
        control::send_start(control).step("tell the container to start")?;
        container.stage = Stage::Starting { session };
        // Nobody will feed an input that is not attached: it is at its end.
        container.ends.stdin = None;
        let unattached = [container.ends.stdout.take(), container.ends.stderr.take()];
        for end in unattached.into_iter().flatten() {
            self.discard_output(end);
        }
        Ok(Answer::Later(Pending::Start(key)))
    }
}
