use rustix::event::epoll::EventFlags;

use super::super::session::Pending;
use super::super::slab::Key;
use super::super::{Agent, Answer};
use super::state_error;
use crate::container::cgroup::{Cgroup, Frozen};
use crate::container::task::{Freeze, Task};
use crate::error::StepError;
use crate::protocol::{CallError, ContainerArgs, Outcome};

impl Agent {
    /// Answered when every process has stopped.
    pub(super) fn pause(&mut self, session: Key, args: &ContainerArgs) -> Result<Answer, CallError> {
        let key = self.find_container(&args.container)?;
        self.running(key)?;
        if self.freeze_of(key) != Freeze::Running {
            return Err(state_error("The container is already paused"));
        }
        match self.cgroup_of(key)?.freeze()? {
            Frozen::Wholly => {
                self.set_freeze(key, Freeze::Frozen);
                Ok(Answer::Now(Outcome::Done))
            }
            Frozen::Soon(events) => {
                self.set_freeze(key, Freeze::Freezing { session });
                if !self.watch_cgroup(key, events, EventFlags::PRI) {
                    self.thaw(key)?;
                    return Err(StepError::setup("Failed to watch the container's processes stop").into());
                }
                Ok(Answer::Later(Pending::Pause(key)))
            }
        }
    }

    pub(super) fn resume(&mut self, args: &ContainerArgs) -> Result<Answer, CallError> {
        let key = self.find_container(&args.container)?;
        self.running(key)?;
        if self.freeze_of(key) == Freeze::Running {
            return Err(state_error("The container is not paused"));
        }
        self.thaw(key)?;
        Ok(Answer::Now(Outcome::Done))
    }

    /// Whoever still waits for the freeze is told that it did not come to that.
    pub(in crate::agent) fn thaw(&mut self, key: Key) -> Result<(), CallError> {
        self.cgroup_of(key)?.thaw()?;
        self.forget_freeze(key);
        Ok(())
    }

    pub(in crate::agent) fn forget_freeze(&mut self, key: Key) {
        let before = self.freeze_of(key);
        self.set_freeze(key, Freeze::Running);
        if let Freeze::Freezing { session } = before {
            self.reply(
                session,
                Err(state_error("The container did not stop before it was to go on or ended")),
            );
        }
    }

    /// A change in a container's cgroup: perhaps the last process has stopped.
    pub(in crate::agent) fn check_freeze(&mut self, key: Key) {
        if let Freeze::Freezing { session } = self.freeze_of(key)
            && self.cgroup_of(key).is_ok_and(Cgroup::is_frozen)
        {
            self.set_freeze(key, Freeze::Frozen);
            self.reply(session, Ok(Outcome::Done));
        }
    }

    pub(super) fn freeze_of(&self, key: Key) -> Freeze {
        let container = self.tasks.get(key).and_then(Task::container);
        container.map_or(Freeze::Running, |container| container.freeze)
    }

    fn set_freeze(&mut self, key: Key, freeze: Freeze) {
        if let Some(container) = self.tasks.get_mut(key).and_then(Task::container_mut) {
            container.freeze = freeze;
        }
    }

    pub(super) fn cgroup_of(&self, key: Key) -> Result<&Cgroup, CallError> {
        let cgroup = self.tasks.get(key).and_then(|task| task.cgroup.as_ref());
        cgroup.ok_or_else(|| state_error("The container has no cgroup any more"))
    }
}
