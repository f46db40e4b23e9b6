//! The supervisor's sandbox: brought up by whoever needs it first, and again by the next once it has died.
//!
//! ```text
//!   launched ──┐
//!   down ──────┼── get ──► starting ──► up ── died ──► down
//!   up, dead ──┘              │          │
//!                             └─ close ──┴──► closed
//! ```
//!
//! Nobody holds the lock while a sandbox starts: others wait for the outcome, and who ends the sandbox
//! meanwhile need not wait for a machine that may hang.

use std::fs;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::keeper::Keeper;
use super::link::Link;
use super::shared::held;
use crate::sandbox::agent::socket_path;
use crate::sandbox::{self, LaunchError, Parts, Sandbox};

pub struct Slot {
    plan: sandbox::Plan,
    /// None where a part is missing; the first launch says which.
    parts: Option<Arc<Parts>>,
    keeper: Keeper,
    state: Mutex<State>,
    /// Something has started, or has not.
    settled: Condvar,
    link: Link,
}

enum State {
    /// Started by the first thread, and not greeted yet.
    Launched(Result<Box<Sandbox>, LaunchError>),
    /// Somebody is at it. There may be a process already.
    Starting(Option<Arc<Sandbox>>),
    Up(Arc<Sandbox>),
    Down,
    /// For good, as soon as whoever is at it has ended what it started.
    Closing,
    Closed,
}

fn ending() -> LaunchError {
    LaunchError::Died("The sandbox was ended while it started".to_string())
}

impl Slot {
    pub fn new(
        plan: sandbox::Plan,
        parts: Option<Parts>,
        first: Result<Sandbox, LaunchError>,
        keeper: Keeper,
    ) -> Slot {
        let state = Mutex::new(State::Launched(first.map(Box::new)));
        let link = Link::new(keeper.clone());
        Slot { plan, parts: parts.map(Arc::new), keeper, state, settled: Condvar::new(), link }
    }

    pub fn plan(&self) -> &sandbox::Plan {
        &self.plan
    }

    /// The sandbox, started (again) where it is not there.
    pub fn get(&self) -> Result<Arc<Sandbox>, LaunchError> {
        let mut state = held(&self.state);
        let before = loop {
            match &*state {
                State::Up(sandbox) if !sandbox.has_ended() => return Ok(sandbox.clone()),
                State::Closing | State::Closed => return Err(ending()),
                State::Starting(_) => {
                    state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                State::Up(_) | State::Launched(_) | State::Down => {
                    break std::mem::replace(&mut *state, State::Starting(None));
                }
            }
        };
        drop(state);
        let brought = self.bring_up(before);
        self.settle(brought)
    }

    fn settle(&self, brought: Result<Arc<Sandbox>, LaunchError>) -> Result<Arc<Sandbox>, LaunchError> {
        let mut state = held(&self.state);
        let outcome = if let State::Starting(_) = *state {
            *state = brought.as_ref().map_or(State::Down, |sandbox| State::Up(sandbox.clone()));
            brought
        } else {
            drop(state);
            if let Ok(sandbox) = brought {
                self.end_one(sandbox, false);
            }
            state = held(&self.state);
            *state = State::Closed;
            Err(ending())
        };
        drop(state);
        self.settled.notify_all();
        outcome
    }

    fn bring_up(&self, before: State) -> Result<Arc<Sandbox>, LaunchError> {
        let launched = match before {
            State::Launched(first) => *first?,
            State::Up(dead) => {
                self.end_one(dead, false);
                self.launch()?
            }
            State::Starting(_) | State::Down | State::Closing | State::Closed => self.launch()?,
        };
        let sandbox = Arc::new(launched);
        match &mut *held(&self.state) {
            State::Starting(process) => *process = Some(sandbox.clone()),
            // Ended meanwhile: whoever settles it does that.
            _ => return Ok(sandbox),
        }
        let making = self.link.begin(&self.plan, &sandbox);
        let greeted = sandbox.greet(|| self.link.made(&self.plan, making, &sandbox));
        let greeted = greeted.and_then(|()| self.link.answer_names(&self.plan, &sandbox));
        if let Err(error) = greeted {
            let error = match error {
                LaunchError::Agent(error) if error.is_gone() => {
                    LaunchError::Died(self.cause_of_death(&sandbox))
                }
                error => error,
            };
            self.end_one(sandbox, false);
            return Err(error);
        }
        Ok(sandbox)
    }

    fn launch(&self) -> Result<Sandbox, LaunchError> {
        let Some(parts) = self.parts.clone() else {
            return Err(LaunchError::Died("A part of hull is missing".to_string()));
        };
        let plan = self.plan.clone();
        let launched = self.keeper.run(move |kept| {
            // The one that died did not take its socket along.
            let _ = fs::remove_file(socket_path(&plan.run_dir));
            kept.launch(&plan, &parts)
        });
        launched.unwrap_or_else(|| Err(LaunchError::Died("The supervisor is ending".to_string())))
    }

    /// Why a sandbox does not answer any more: its own last word, else what its process left. It is over
    /// then, with all that ran in it; everybody who asks is told the same.
    pub fn cause_of_death(&self, sandbox: &Arc<Sandbox>) -> String {
        self.died(sandbox, || sandbox.last_event().unwrap_or_else(|| sandbox.last_words()))
    }

    /// Ends a sandbox that must not go on, and why.
    pub fn condemn(&self, sandbox: &Arc<Sandbox>, why: String) {
        self.died(sandbox, || why);
    }

    fn died(&self, sandbox: &Arc<Sandbox>, find: impl FnOnce() -> String) -> String {
        let pod = self.plan.pod.is_some();
        let cause = sandbox.cause(|| {
            let said = find();
            let killed = sandbox.clone();
            let _ = self.keeper.run(move |_| killed.kill());
            // The other containers outlive an agent on the host.
            if pod {
                self.end_one(sandbox.clone(), false);
            }
            said
        });
        let mut state = held(&self.state);
        if pod && matches!(&*state, State::Up(current) if Arc::ptr_eq(current, sandbox)) {
            *state = State::Down;
        }
        cause
    }

    /// What the sandbox is connected to.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The sandbox if it is up.
    pub fn running(&self) -> Option<Arc<Sandbox>> {
        match &*held(&self.state) {
            State::Up(sandbox) => Some(sandbox.clone()),
            _ => None,
        }
    }

    /// The same, where one that starts is waited for.
    pub fn settled(&self) -> Option<Arc<Sandbox>> {
        let mut state = held(&self.state);
        while let State::Starting(_) = &*state {
            state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match &*state {
            State::Up(sandbox) => Some(sandbox.clone()),
            _ => None,
        }
    }

    /// Nothing starts any more, and what is about to does not come up: who waits for it is told so.
    pub fn refuse_starts(&self) {
        let mut state = held(&self.state);
        if let State::Starting(process) = &mut *state {
            let process = process.take();
            *state = State::Closing;
            drop(state);
            self.settled.notify_all();
            if let Some(sandbox) = process {
                let _ = self.keeper.run(move |_| sandbox.kill());
            }
        }
    }

    /// Ends the sandbox, if it runs, for good. `flush`: writable layers outlive it.
    pub fn end(&self, flush: bool) {
        self.refuse_starts();
        let mut state = held(&self.state);
        while let State::Closing = *state {
            state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let sandbox = match std::mem::replace(&mut *state, State::Closed) {
            State::Up(sandbox) => Some(sandbox),
            State::Launched(Ok(sandbox)) => Some(Arc::from(sandbox)),
            _ => None,
        };
        drop(state);
        if let Some(sandbox) = sandbox {
            self.end_one(sandbox, flush);
        }
        self.link.close();
    }

    /// What the agent answers is read here, and not by the keeper.
    fn end_one(&self, sandbox: Arc<Sandbox>, flush: bool) {
        let heard = sandbox.ask_to_end(flush);
        let _ = self.keeper.run(move |_| sandbox.end(heard));
    }
}
