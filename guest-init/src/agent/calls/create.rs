use rustix::event::epoll::EventFlags;
use std::os::fd::AsFd;

use super::super::session::Pending;
use super::super::slab::Key;
use super::super::token::Token;
use super::super::{Agent, Answer};
use super::state_error;
use crate::container::{self, spec};
use crate::error::Step;
use crate::protocol::{CallError, ContainerSpec};

impl Agent {
    /// Answered by `on_ready`, or when a failed set-up has left nothing behind.
    pub(super) fn create(&mut self, session: Key, spec: ContainerSpec) -> Result<Answer, CallError> {
        self.check_room()?;
        let spec = spec::validate(spec, self.place)?;
        if self.find(&spec.id).is_ok() {
            return Err(state_error("A container or exec of that id exists"));
        }
        let task = container::create(spec, &self.surroundings, session)?;
        let key = self.tasks.insert(task);
        self.await_ready(session, key)
    }

    /// Waits for the news of a process that sets itself up.
    pub(super) fn await_ready(&mut self, session: Key, key: Key) -> Result<Answer, CallError> {
        let watched = match self.tasks.get(key).and_then(|task| task.control.as_ref()) {
            Some(control) => self.watch(control.as_fd(), Token::Control(key), EventFlags::IN),
            None => Ok(()),
        };
        if let Err(error) = watched.step("watch the process's set-up") {
            self.cancel(session, Some(Pending::Create(key)));
            return Err(error.into());
        }
        Ok(Answer::Later(Pending::Create(key)))
    }
}
