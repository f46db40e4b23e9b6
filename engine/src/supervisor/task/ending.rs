//! How a container is brought to its end: asked, killed, and with its sandbox if nothing else helps.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use hull_guest::protocol::{Request, SignalArgs};

use super::super::caller::{Caller, state_error};
use super::super::control::{self, Exit};
use super::{Order, PATIENCE, Phase, SIGKILL, Task, run};
use crate::sandbox::agent::AgentError;
use crate::store::db::states::Change;

#[derive(Clone, Copy)]
pub(super) enum Escalation {
    KillContainer,
    KillSandbox,
}

impl Task {
    pub(super) fn on_stop(&mut self, args: &control::StopArgs, again: bool, caller: Option<Caller>) {
        if again {
            self.again.get_or_insert_default().extend(caller);
        } else {
            self.again = None;
            self.waiters.add_stopper(caller);
            self.stopped_by_user();
        }
        match &self.phase {
            Phase::Idle { .. } => self.on_idle_stop(),
            Phase::Resting { exit, .. } => {
                let exit = exit.clone();
                match self.again.take() {
                    Some(callers) => self.rest_no_longer(&exit, callers),
                    None => self.come_to_rest(&exit),
                }
            }
            Phase::Running(_) => {
                self.stopping = true;
                let stop = self.plan.config.stop;
                let seconds = args.timeout_seconds.unwrap_or(stop.timeout_seconds);
                let in_silence = deadline(seconds);
                self.deadline = if self.urge(args.signal.unwrap_or(stop.signal)) {
                    deadline(seconds).map(|at| (at, Escalation::KillContainer))
                } else {
                    in_silence.map(|at| (at, Escalation::KillSandbox))
                };
            }
        }
    }

    fn on_idle_stop(&mut self) {
        match self.again.take() {
            Some(callers) => self.start_for(callers),
            None => {
                self.waiters.stopped();
                // Who removes the container waits for no reader of its files.
                if self.exporter.is_some() {
                    self.exported();
                }
            }
        }
    }

    /// A user starts again what was about to by itself.
    fn rest_no_longer(&mut self, exit: &Exit, callers: Vec<Caller>) {
        self.phase = Phase::Idle { prepared: None };
        if self.record(run::exited(exit)) {
            self.start_for(callers);
        } else {
            self.come_to_rest(exit);
        }
    }

    pub(super) fn on_kill(&mut self, signal: u8, caller: Caller) {
        let ends = signal == SIGKILL;
        let stops = ends || signal == self.plan.config.stop.signal;
        match &self.phase {
            Phase::Running(_) => {}
            // There is no process to kill; it is not to come back.
            Phase::Resting { exit, .. } if stops => {
                let exit = exit.clone();
                self.stopped_by_user();
                self.waiters.add_stopper(Some(caller));
                return self.come_to_rest(&exit);
            }
            // It was about to have one.
            Phase::Idle { .. } if stops && std::mem::take(&mut self.called_off) => return caller.done(),
            Phase::Idle { .. } | Phase::Resting { .. } => {
                return caller.refuse(state_error(format!("Container {} is not running", self.plan.id)));
            }
        }
        if stops {
            self.stopping = true;
            self.stopped_by_user();
        }
        if stops && !ends {
            let _ = self.thaw();
        }
        match self.signal(signal) {
            Ok(_) if ends => {
                let _ = self.thaw();
                self.deadline = Some((Instant::now() + PATIENCE, Escalation::KillSandbox));
                self.waiters.add_stopper(Some(caller));
            }
            reply => caller.answer(&reply),
        }
    }

    pub(super) fn on_end(&mut self, timeout_seconds: Option<i64>, ended: Sender<()>) {
        self.ending = Some(ended);
        if let Phase::Idle { .. } = self.phase {
            // One whose start is under way is as if it had been called off.
            if self.runs == 0 {
                let (id, removed) = (self.plan.id.clone(), self.plan.goes_if_never_started());
                let _ = self.shared.keeper.run(move |kept| kept.abandon_member(&id, removed));
            }
            self.leave();
            self.over = true;
        } else {
            let container = self.plan.id.clone();
            let args = control::StopArgs { container, signal: None, timeout_seconds };
            self.on_stop(&args, false, None);
        }
    }

    /// Patience has ended, or a rest.
    pub(super) fn on_time(&mut self) {
        if let Phase::Resting { until, .. } = &self.phase
            && *until <= Instant::now()
        {
            return self.start_again();
        }
        let Some((at, escalation)) = self.deadline else { return };
        if at > Instant::now() {
            return;
        }
        self.deadline = None;
        match escalation {
            Escalation::KillContainer => {
                let patience = if self.urge(SIGKILL) { PATIENCE } else { Duration::ZERO };
                self.deadline = Some((Instant::now() + patience, Escalation::KillSandbox));
            }
            // Neither the container nor its agent does what it should: the machine, or the agent, goes.
            Escalation::KillSandbox => {
                if let Some(sandbox) = self.shared.running_sandbox() {
                    let _ = self.shared.keeper.run(move |_| sandbox.kill());
                }
            }
        }
    }

    /// Those whose order was not read, because the start ended by it before: they need not wait for what is late.
    pub(super) fn answer_who_called_off(&self) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Kill(signal, caller) if signal == SIGKILL => caller.done(),
                Order::Stop { caller, .. } => caller.into_iter().for_each(Caller::done),
                _ => {}
            }
        }
    }

    /// A stop's signal. False: the agent does not answer. It is not asked anything more then, since each
    /// question is waited for.
    fn urge(&self, signal: u8) -> bool {
        let request = Request::Signal(SignalArgs { container: self.plan.id.clone(), signal });
        let answers = |outcome| !matches!(outcome, Err(AgentError::Timeout));
        answers(self.thaw()) && answers(self.call(&request))
    }

    /// Whether it was paused or not: a frozen process takes no signal, SIGKILL neither (v1).
    fn thaw(&self) -> Result<(), AgentError> {
        self.call(&Request::Resume(self.args()))?;
        self.record(Change::Unpaused);
        Ok(())
    }

    fn stopped_by_user(&self) {
        self.record(Change::StoppedByUser);
    }
}

/// When patience ends. None: never, with a number below zero, as docker's, or one beyond all time.
fn deadline(seconds: i64) -> Option<Instant> {
    u64::try_from(seconds).ok().and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_without_an_end_is_no_overflow() {
        assert!(deadline(10).is_some_and(|at| at > Instant::now()));
        assert!(deadline(-1).is_none() && deadline(i64::MAX).is_none());
    }
}
