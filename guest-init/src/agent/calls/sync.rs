use super::super::slab::Key;
use super::super::{Agent, Answer};
use crate::container::spec::Place;
use crate::container::task::Task;
use crate::error::StepError;
use crate::protocol::{CallError, Outcome, RootSource};

impl Agent {
    /// Writing may take long, so a child does it.
    pub(super) fn sync(&mut self, session: Key) -> Result<Answer, CallError> {
        self.help(session, Vec::new(), |agent| match agent.write_all_out() {
            true => Ok(Outcome::Done),
            false => Err(StepError::setup("Failed to write everything to disk").into()),
        })
    }

    /// All the guest's disks; of a host's, only where containers write.
    fn write_all_out(&self) -> bool {
        if self.place == Place::Guest {
            rustix::fs::sync();
            return true;
        }
        let containers = self.tasks.iter().filter_map(|(_, task)| Task::container(task));
        let uppers = containers.filter_map(|container| match &container.spec.root.source {
            RootSource::Files { upper, .. } | RootSource::Folder { upper, .. } => Some(upper),
            RootSource::Disks { .. } => None,
        });
        uppers.fold(true, |all, upper| {
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
            let folder = rustix::fs::open(upper.as_bytes(), flags, rustix::fs::Mode::empty());
            folder.and_then(|folder| rustix::fs::syncfs(&folder)).is_ok() && all
        })
    }
}
