//! What a start needs of the host's files: made ready while the sandbox comes up, told to the agent, taken back.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};

use hull_guest::protocol::{Mount, Request};

use super::run::StartError;
use super::starting::News;
use super::{PATIENCE, Task};
use crate::sandbox::Sandbox;
use crate::store::Store;
use crate::supervisor::chain;
use crate::supervisor::shared::start_privileged;
use crate::volume::VolumeError;
use crate::volume::attach::{self, AttachError, Attached, Filling, Prepared, Unsealed};
use crate::volume::patience::CallOff;

/// Volumes that are being attached. Dropped: they are not wanted any more.
pub(super) struct Preparing {
    start: CallOff,
    news: Receiver<News>,
}

impl Preparing {
    fn wait(self) -> Result<Prepared, StartError> {
        match self.news.recv() {
            Ok(None | Some(Err(AttachError::Volume(VolumeError::CalledOff { .. })))) => {
                Err(StartError::CalledOff)
            }
            Ok(Some(outcome)) => Ok(outcome?),
            // There was no thread to be had for them.
            Err(_) => Err(StartError::Thread),
        }
    }
}

impl Drop for Preparing {
    fn drop(&mut self) {
        self.start.call_off();
    }
}

/// What a machine was shown for a container.
#[derive(Default)]
pub(super) struct Shown {
    sandbox: Weak<Sandbox>,
    shares: Vec<String>,
    /// Those of them that it can still write to, and is to read only.
    unsealed: Unsealed,
}

impl Task {
    pub(super) fn has_volumes(&self) -> bool {
        !self.plan.config.volumes.is_empty()
    }

    /// Begins to make the container's binds and volumes ready, in a thread of its own: it may take long, and the keeper
    /// has others to look after. Of a start that was called off, that thread takes back what comes late, and the
    /// supervisor does not end before it has.
    pub(super) fn begin_attach(&mut self) -> Option<Preparing> {
        self.called_off = false;
        if !self.has_volumes() {
            return None;
        }
        let (start, told, news) = self.handle.starting.begin();
        let (shared, volumes, wanted) =
            (self.shared.clone(), self.plan.config.volumes.clone(), start.clone());
        // What nobody hears of any more is let go of.
        let tell = move |prepared| drop(told.send(Some(prepared)));
        let attach = {
            let (shared, tell) = (shared.clone(), tell.clone());
            move |store: &Store| {
                tell(attach::prepare(store, shared.id(), shared.mode(), &volumes, &wanted));
            }
        };
        let _begun = self.shared.keeper.begin(move |kept| match kept.store().cloned() {
            Ok(store) => {
                let thread = start_privileged("volumes", move || attach(&store));
                thread.into_iter().for_each(|thread| shared.remember(thread));
            }
            Err(error) => tell(Err(error.into())),
        });
        Some(Preparing { start, news })
    }

    /// All that is mounted in the container, once the sandbox is up, and the volumes that are filled meanwhile.
    pub(super) fn attach(
        &mut self,
        preparing: Option<Preparing>,
        sandbox: &Arc<Sandbox>,
    ) -> Result<(Vec<Mount>, Filling), StartError> {
        // Of a start that failed, and is tried again.
        self.take_back();
        let mut attached = Attached::default();
        if let Some(preparing) = preparing {
            let prepared = preparing.wait();
            self.called_off = matches!(prepared, Err(StartError::CalledOff));
            let prepared = prepared?;
            let told = prepared.told(&**sandbox, &mut attached);
            let (shares, unsealed) = (attached.shares, attached.unsealed);
            self.shown = Shown { sandbox: Arc::downgrade(sandbox), shares, unsealed };
            told?;
        }
        attached.mounts.extend(self.plan.config.mounts.iter().cloned());
        Ok((attach::in_order(attached.mounts), attached.filling))
    }

    /// What the machine could write to, for its agent to fill it, is only read from here on: the container has been made,
    /// and its command does not run yet.
    pub(super) fn seal(&mut self, sandbox: &Arc<Sandbox>) -> Result<(), AttachError> {
        self.shown.unsealed.seal(&**sandbox)
    }

    /// Out of a sandbox that goes on.
    pub(super) fn delete_from(&mut self, sandbox: &Sandbox) {
        let _ = sandbox.agent().done_within(&Request::Delete(self.args()), PATIENCE);
        self.take_back();
    }

    /// What the machine was shown for a container that is not there any more.
    pub(super) fn take_back(&mut self) {
        let mut shown = std::mem::take(&mut self.shown);
        let Some(sandbox) = shown.sandbox.upgrade().filter(|sandbox| !sandbox.has_ended()) else { return };
        // A share that goes leaves the guest what it has open of it. What it may only read it must not keep so: its own
        // agent has nothing open any more.
        if let Err(error) = shown.unsealed.seal(&*sandbox) {
            return self.shared.condemn(&sandbox, chain(&error));
        }
        for share in &shown.shares {
            sandbox.unshare(share);
        }
    }
}
