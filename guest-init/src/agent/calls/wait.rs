use super::super::session::Pending;
use super::super::slab::Key;
use super::super::{Agent, Answer};
use crate::container::task::Stage;
use crate::protocol::{CallError, ContainerArgs, ErrorKind, Outcome};

impl Agent {
    pub(super) fn wait(&mut self, session: Key, args: &ContainerArgs) -> Result<Answer, CallError> {
        let key = self.find(&args.container)?;
        if let Some(Stage::Exited(status)) = self.tasks.get(key).map(|container| &container.stage) {
            return Ok(Answer::Now(Outcome::Exited(*status)));
        }
        self.check_room()?;
        let Some(container) = self.tasks.get_mut(key) else {
            let message = "The container is gone".to_owned();
            return Err(CallError { kind: ErrorKind::NoContainer, message });
        };
        container.waiters.push(session);
        Ok(Answer::Later(Pending::Wait(key)))
    }
}
