//! What a start needs of the host's files: made ready while the sandbox comes up, told to the agent, taken back.

use std::sync::{Arc, Weak};

use hull_guest::protocol::{Mount, Request};

use super::run::StartError;
use super::{PATIENCE, Task};
use crate::sandbox::{LaunchError, Sandbox};
use crate::supervisor::chain;
use crate::supervisor::keeper::Promise;
use crate::volume::attach::{self, AttachError, Attached, Filling, Prepared, Unsealed};
use crate::volume::{Kind, MountPoint};

pub(super) type Preparing = Option<Promise<Result<Prepared, AttachError>>>;

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

    /// Whether it may have to fill a volume.
    pub(super) fn fills_volumes(&self) -> bool {
        let fills = |volume: &MountPoint| matches!(volume.kind, Kind::Volume { copy: true, .. });
        self.plan.config.volumes.iter().any(fills)
    }

    /// Begins to make the container's binds and volumes ready.
    pub(super) fn begin_attach(&self) -> Preparing {
        if !self.has_volumes() {
            return None;
        }
        let volumes = self.plan.config.volumes.clone();
        let (sandbox, mode) = (self.shared.id().to_string(), self.shared.mode());
        Some(self.shared.keeper.begin(move |kept| attach::prepare(kept.store()?, &sandbox, mode, &volumes)))
    }

    /// All that is mounted in the container, once the sandbox is up, and the volumes that are filled meanwhile.
    pub(super) fn attach(
        &mut self,
        preparing: Preparing,
        sandbox: &Arc<Sandbox>,
    ) -> Result<(Vec<Mount>, Filling), StartError> {
        // Of a start that failed, and is tried again.
        self.take_back();
        let mut attached = Attached::default();
        if let Some(preparing) = preparing {
            let ending = || LaunchError::Died("The supervisor is ending".to_string());
            let prepared = preparing.wait().ok_or_else(ending)??;
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
