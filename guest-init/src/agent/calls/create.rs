use rustix::event::epoll::EventFlags;
use rustix::process::{PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};

use super::super::session::Pending;
use super::super::slab::Key;
use super::super::token::Token;
use super::super::{Agent, Answer};
use super::state_error;
use crate::container::shared::{Joined, Network, Pod, Shm};
use crate::container::task::Stage;
use crate::container::{self, spec};
use crate::error::Step;
use crate::protocol::{CallError, ContainerSpec, Share};

impl Agent {
    /// Answered by `on_ready`, or when a failed set-up has left nothing behind.
    pub(super) fn create(&mut self, session: Key, spec: ContainerSpec) -> Result<Answer, CallError> {
        self.check_room()?;
        let spec = spec::validate(spec, self.place)?;
        if self.find(&spec.id).is_ok() {
            return Err(state_error("A container or exec of that id exists"));
        }
        let joined = self.joined(&spec.share)?;
        let task = container::create(spec, &joined, &self.surroundings, session)?;
        let key = self.tasks.insert(task);
        self.await_ready(session, key)
    }

    /// The namespaces that a container shares: those it names, else the pod's and the sandbox's.
    fn joined(&self, share: &Share) -> Result<Joined, CallError> {
        let mut joined = self.pod.as_ref().map_or_else(|| Ok(Joined::default()), Pod::joined)?;
        let of = |id: &Option<String>| id.as_ref().map(|id| self.process_of(id)).transpose();
        if let Some(other) = of(&share.ipc)? {
            joined.ipc = Some(other);
            joined.shm = Shm::Others;
        }
        // Where the sandbox has a network, all its containers are in that one.
        match (of(&share.network)?, &self.network) {
            (_, Some(_)) => joined.network = Network::Agents,
            (Some(other), None) => joined.network = Network::Joined(other),
            (None, None) => (),
        }
        joined.uts = of(&share.uts)?.or(joined.uts);
        joined.pid = of(&share.pid)?;
        Ok(joined)
    }

    /// A container's first process, which is in all its namespaces once it is created.
    fn process_of(&self, id: &str) -> Result<OwnedFd, CallError> {
        let task = self.find_container(id).ok().and_then(|key| self.tasks.get(key));
        let there = task.filter(|task| !matches!(task.stage, Stage::Creating { .. }));
        let Some(process) = there.and_then(|task| task.process) else {
            return Err(state_error(
                "The container whose namespaces are to be joined is not there, or has ended",
            ));
        };
        Ok(pidfd_open(process, PidfdFlags::empty()).step("open the other container's process")?)
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
