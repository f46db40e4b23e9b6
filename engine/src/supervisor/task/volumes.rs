//! What a start needs of the host's files: made ready while the sandbox comes up, told to the agent, taken back.

use std::sync::{Arc, Weak};

use hull_guest::protocol::{Mount, Request};

use super::run::StartError;
use super::{PATIENCE, Task};
use crate::sandbox::{LaunchError, Sandbox};
use crate::supervisor::keeper::Promise;
use crate::volume::attach::{self, AttachError, Attached, Filling, Prepared};
use crate::volume::{Kind, MountPoint};

pub(super) type Preparing = Option<Promise<Result<Prepared, AttachError>>>;

/// What a machine was shown for a container.
#[derive(Default)]
pub(super) struct Shown {
    sandbox: Weak<Sandbox>,
    shares: Vec<String>,
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
        let mut attached = Attached::default();
        if let Some(preparing) = preparing {
            let ending = || LaunchError::Died("The supervisor is ending".to_string());
            let prepared = preparing.wait().ok_or_else(ending)??;
            let told = prepared.told(&**sandbox, &mut attached);
            self.shown = Shown { sandbox: Arc::downgrade(sandbox), shares: attached.shares };
            told?;
        }
        attached.mounts.extend(self.plan.config.mounts.iter().cloned());
        Ok((attach::in_order(attached.mounts), attached.filling))
    }

    /// Out of a sandbox that goes on.
    pub(super) fn delete_from(&mut self, sandbox: &Sandbox) {
        let _ = sandbox.agent().done_within(&Request::Delete(self.args()), PATIENCE);
        self.take_back();
    }

    /// What the machine was shown for a container that is not there any more.
    pub(super) fn take_back(&mut self) {
        let shown = std::mem::take(&mut self.shown);
        let Some(sandbox) = shown.sandbox.upgrade().filter(|sandbox| !sandbox.has_ended()) else { return };
        for share in &shown.shares {
            sandbox.unshare(share);
        }
    }
}
