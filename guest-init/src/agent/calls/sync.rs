use super::super::session::Pending;
use super::super::slab::Key;
use super::super::{Agent, Answer};
use crate::container::spec::Place;
use crate::error::Step;
use crate::protocol::{CallError, RootSource};
use crate::sys::{self, Fork};

impl Agent {
    /// Writing may take long, so a child does it.
    pub(super) fn sync(&mut self, session: Key) -> Result<Answer, CallError> {
        // SAFETY: the agent has a single thread.
        match unsafe { sys::fork() }.step("fork a helper")? {
            Fork::Parent(helper) => {
                self.helpers.push((helper, session));
                Ok(Answer::Later(Pending::Sync))
            }
            Fork::Child => {
                sys::close_all_but(&mut []);
                sys::exit_now(i32::from(!self.write_all_out()))
            }
        }
    }

    /// All the guest's disks; of a host's, only where containers write.
    fn write_all_out(&self) -> bool {
        if self.place == Place::Guest {
            rustix::fs::sync();
            return true;
        }
        let containers = self.tasks.iter().filter_map(|(_, task)| task.container());
        let uppers = containers.filter_map(|container| match &container.spec.root.source {
            RootSource::Files { upper, .. } => Some(upper),
            RootSource::Disks { .. } => None,
        });
        uppers.fold(true, |all, upper| {
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
            let folder = rustix::fs::open(upper.as_bytes(), flags, rustix::fs::Mode::empty());
            folder.and_then(|folder| rustix::fs::syncfs(&folder)).is_ok() && all
        })
    }
}
