use super::super::session::Pending;
use super::super::slab::Key;
use super::super::{Agent, Answer};
use super::state_error;
use crate::container::control;
use crate::container::task::{Freeze, Stage, Task};
use crate::error::Step;
use crate::protocol::{CallError, ContainerArgs};

impl Agent {
    /// Answered when the control socket closes (the exec has succeeded) or says why not.
    pub(super) fn start(&mut self, session: Key, args: &ContainerArgs) -> Result<Answer, CallError> {
        let key = self.find(&args.container)?;
        let holder =
            self.tasks.get(key).and_then(Task::exec_of).and_then(|container| self.tasks.get(container));
        if holder.and_then(Task::container).is_some_and(|container| container.freeze != Freeze::Running) {
            return Err(state_error("The container is paused"));
        }
        let Some(task) = self.tasks.get_mut(key).filter(|task| matches!(task.stage, Stage::Created)) else {
            return Err(state_error("Only a container that was created and not started can start"));
        };
        let Some(control) = &task.control else {
            return Err(state_error("The container's process has ended before it was started"));
        };
        control::send_start(control).step("tell the container to start")?;
        task.stage = Stage::Starting { session };
        // Nobody will feed an input that is not attached: it is at its end.
        task.ends.stdin = None;
        let unattached = [task.ends.stdout.take(), task.ends.stderr.take()];
        for end in unattached.into_iter().flatten() {
            self.discard_output(end);
        }
        Ok(Answer::Later(Pending::Start(key)))
    }
}
