use super::super::session::Pending;
use super::super::slab::Key;
use super::super::{Agent, Answer};
use super::state_error;
use crate::container::task::Stage;
use crate::protocol::{CallError, ContainerArgs, Outcome};

impl Agent {
    /// Answered when the container's processes, mounts (which go with the last process) and cgroup are
    /// gone.
    pub(super) fn delete(&mut self, session: Key, args: &ContainerArgs) -> Result<Answer, CallError> {
        let key = self.find(&args.container)?;
        let Some(task) = self.tasks.get_mut(key) else { return Ok(Answer::Now(Outcome::Done)) };
        if matches!(task.stage, Stage::Creating { .. }) {
            return Err(state_error("The container is being created; closing that call cancels it"));
        }
        task.deleters.push(session);
        task.being_deleted = true;
        if task.process.is_some() {
            task.kill();
            return Ok(Answer::Later(Pending::Delete(key)));
        }
        self.finish_delete(key);
        // Done already, most of the time: then the reply is out, and this one has nobody to go to.
        Ok(Answer::Later(Pending::Delete(key)))
    }
}
