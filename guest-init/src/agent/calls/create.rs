use rustix::event::epoll::EventFlags;
use std::os::fd::AsFd;

use super::super::session::Pending;
use super::super::slab::Key;
use super::super::token::Token;
use super::super::{Agent, Answer};
use super::state_error;
use crate::container::{Container, spec};
use crate::error::Step;
use crate::protocol::{CallError, ContainerSpec};

impl Agent {
    /// Answered by `on_ready`, or when a failed set-up has left nothing behind.
    pub(super) fn create(&mut self, session: Key, spec: ContainerSpec) -> Result<Answer, CallError> {
        self.check_room()?;
        let spec = spec::validate(spec, self.place)?;
        if self.find(&spec.id).is_ok() {
            return Err(state_error("A container of that id exists"));
        }
        let container = Container::create(spec, &self.surroundings, session)?;
        let key = self.containers.insert(container);
        let watched = match self.containers.get(key).and_then(|container| container.control.as_ref()) {
            Some(control) => self.watch(control.as_fd(), Token::Control(key), EventFlags::IN),
            None => Ok(()),
        };
        if let Err(error) = watched.step("watch the container's set-up") {
            self.cancel(session, Some(Pending::Create(key)));
            return Err(error.into());
        }
        Ok(Answer::Later(Pending::Create(key)))
    }
}
