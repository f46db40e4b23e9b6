//! A container's files for whoever exports it: straight from the agent, with nobody between. One that does
//! not run is prepared as for a start, read, and let go of.

use std::io;

use hull_guest::protocol::CallError;

use super::super::caller::{Caller, failure, state_error};
use super::super::shared::start_thread;
use super::run::StartError;
use super::{Order, Phase, Task};
use crate::sandbox::agent::AgentError;

impl Task {
    pub(super) fn on_export(&mut self, caller: Caller, failed: Option<StartError>) {
        match self.hand_archive(&caller, failed) {
            Err(error) => {
                caller.refuse(error);
                self.exported();
            }
            Ok(()) if matches!(self.phase, Phase::Running(_)) => {}
            Ok(()) => self.hold_until_read(caller),
        }
    }

    fn hand_archive(&self, caller: &Caller, failed: Option<StartError>) -> Result<(), CallError> {
        let run = match (&self.phase, failed) {
            (Phase::Idle { .. }, Some(error)) => return Err(error.call_error()),
            (Phase::Running(run) | Phase::Idle { prepared: Some(run) }, _) => run,
            (Phase::Idle { prepared: None } | Phase::Resting { .. }, _) => {
                return Err(state_error(format!("Container {} is not running", self.plan.id)));
            }
        };
        let archive = run.sandbox.agent().archive(&self.plan.id).map_err(|error| match error {
            AgentError::Refused(error) => error,
            error => failure(&error),
        })?;
        caller.hand_over(&[archive]).map_err(|error| failure(&error))
    }

    /// The caller closes its connection when it has read everything, and hears by it when nothing is left
    /// here.
    fn hold_until_read(&mut self, caller: Caller) {
        let orders = self.handle.orders.clone();
        let watching = caller.connection().ok().and_then(|mut connection| {
            start_thread("export", move || {
                let _ = io::copy(&mut connection, &mut io::sink());
                let _ = orders.send(Order::Exported);
            })
        });
        self.exporter = Some(caller);
        if watching.is_none() {
            self.exported();
        }
    }

    /// What was prepared only to be read goes, and the container stays as it was.
    pub(super) fn exported(&mut self) {
        let exporter = self.exporter.take();
        if !matches!(self.phase, Phase::Idle { .. }) || self.runs > 0 {
            return;
        }
        if self.shared.is_pod() {
            self.let_go();
        } else {
            self.shared.end_sandbox(true);
            let id = self.plan.id.clone();
            let _ = self.shared.keeper.run(move |kept| kept.end_sandbox(&id));
            exporter.into_iter().for_each(|caller| self.shared.keep_until_end(caller));
        }
        self.leave();
    }
}
