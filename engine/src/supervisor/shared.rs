//! What the supervisor's threads have in common: the sandbox, its containers' tasks, the lock.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use hull_guest::protocol::{CallError, ErrorKind};

use super::caller::Caller;
use super::exec::Execs;
use super::keeper::Keeper;
use super::task::{self, Order, TaskHandle};
use super::{ContainerPlan, STACK, privileges};
use crate::sandbox::agent::AgentError;
use crate::sandbox::{self, LaunchError, Parts, Sandbox};

pub struct Shared {
    plan: sandbox::Plan,
    /// None where a part is missing; `first` says which.
    parts: Option<Arc<Parts>>,
    slot: Mutex<Slot>,
    tasks: Mutex<HashMap<String, TaskHandle>>,
    pub execs: Execs,
    pub keeper: Keeper,
    /// Let go when nothing of the sandbox is left, however long a client takes to read the rest.
    lock: Mutex<Option<OwnedFd>>,
    /// Threads with something for a client, which the process does not end before.
    finishing: Mutex<Vec<JoinHandle<()>>>,
    /// Callers whose answer is the supervisor's end.
    kept: Mutex<Vec<Caller>>,
}

enum Slot {
    /// Started by the first thread, and not greeted yet.
    Launched(Result<Box<Sandbox>, LaunchError>),
    Up(Arc<Sandbox>),
    Down,
}

impl Shared {
    pub fn new(
        plan: sandbox::Plan,
        parts: Option<Parts>,
        first: Result<Sandbox, LaunchError>,
        keeper: Keeper,
        lock: OwnedFd,
    ) -> Shared {
        Shared {
            plan,
            parts: parts.map(Arc::new),
            slot: Mutex::new(Slot::Launched(first.map(Box::new))),
            tasks: Mutex::default(),
            execs: Execs::default(),
            keeper,
            lock: Mutex::new(Some(lock)),
            finishing: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    pub fn id(&self) -> &str {
        &self.plan.id
    }

    pub fn is_pod(&self) -> bool {
        self.plan.pod.is_some()
    }

    /// The sandbox, started (again) where it is not there.
    pub fn sandbox(&self) -> Result<Arc<Sandbox>, LaunchError> {
        let mut slot = held(&self.slot);
        let launched = match std::mem::replace(&mut *slot, Slot::Down) {
            Slot::Up(sandbox) if !sandbox.has_ended() => {
                *slot = Slot::Up(sandbox.clone());
                return Ok(sandbox);
            }
            Slot::Up(dead) => {
                let _ = self.keeper.run(move |_| dead.end(false));
                self.launch()?
            }
            Slot::Launched(first) => *first?,
            Slot::Down => self.launch()?,
        };
        let sandbox = Arc::new(launched);
        if let Err(error) = sandbox.greet() {
            let error = match error {
                LaunchError::Agent(AgentError::Closed) => LaunchError::Died(self.cause_of_death(&sandbox)),
                error => error,
            };
            let _ = self.keeper.run(move |_| sandbox.end(false));
            return Err(error);
        }
        *slot = Slot::Up(sandbox.clone());
        Ok(sandbox)
    }

    fn launch(&self) -> Result<Sandbox, LaunchError> {
        let Some(parts) = self.parts.clone() else {
            return Err(LaunchError::Died("A part of hull is missing".to_string()));
        };
        let plan = self.plan.clone();
        let launched = self.keeper.run(move |_| Sandbox::launch(&plan, &parts));
        launched.unwrap_or_else(|| Err(LaunchError::Died("The supervisor is ending".to_string())))
    }

    /// Why a sandbox does not answer any more: its own last word, else what its process left. It is over
    /// then.
    pub fn cause_of_death(&self, sandbox: &Arc<Sandbox>) -> String {
        let said = sandbox.last_event();
        let killed = sandbox.clone();
        let _ = self.keeper.run(move |_| killed.kill());
        said.unwrap_or_else(|| sandbox.last_words())
    }

    /// The sandbox if it is up.
    pub fn running_sandbox(&self) -> Option<Arc<Sandbox>> {
        match &*held(&self.slot) {
            Slot::Up(sandbox) => Some(sandbox.clone()),
            Slot::Launched(_) | Slot::Down => None,
        }
    }

    /// Ends the sandbox, if it runs. `flush`: writable layers outlive it.
    pub fn end_sandbox(&self, flush: bool) {
        let sandbox = match std::mem::replace(&mut *held(&self.slot), Slot::Down) {
            Slot::Up(sandbox) => Some(sandbox),
            Slot::Launched(Ok(sandbox)) => Some(Arc::from(sandbox)),
            Slot::Launched(Err(_)) | Slot::Down => None,
        };
        if let Some(sandbox) = sandbox {
            let _ = self.keeper.run(move |_| sandbox.end(flush));
        }
    }

    /// Takes a container into care.
    pub fn add(self: &Arc<Self>, plan: ContainerPlan) {
        let id = plan.id.clone();
        let mut tasks = held(&self.tasks);
        if let Some(handle) = task::spawn(self, plan) {
            tasks.insert(id, handle);
        }
    }

    pub fn task(&self, id: &str) -> Result<TaskHandle, CallError> {
        held(&self.tasks).get(id).cloned().ok_or_else(|| CallError {
            kind: ErrorKind::NoContainer,
            message: format!("This supervisor has no container {id}"),
        })
    }

    pub fn forget(&self, id: &str) {
        held(&self.tasks).remove(id);
    }

    /// A caller that hears of the supervisor's end by its connection's.
    pub fn keep_until_end(&self, caller: Caller) {
        held(&self.kept).push(caller);
    }

    /// Ends a pod and what is in it.
    pub fn end_pod(&self) {
        let (sender, ended) = mpsc::channel();
        for task in self.tasks() {
            task.tell(Order::End(sender.clone()));
        }
        drop(sender);
        // Nobody sends: the channel closes with the last task.
        let _: Result<(), _> = ended.recv();
        self.end_sandbox(true);
        let id = self.id().to_string();
        let _ = self.keeper.run(move |kept| kept.end_sandbox(&id));
        self.finish();
    }

    pub fn tasks(&self) -> Vec<TaskHandle> {
        held(&self.tasks).values().cloned().collect()
    }

    /// A thread that the end of the supervisor waits for.
    pub fn remember(&self, thread: JoinHandle<()>) {
        let mut finishing = held(&self.finishing);
        finishing.retain(|thread| !thread.is_finished());
        finishing.push(thread);
    }

    /// The end of the supervisor: the lock first, then what clients have still to read, then the process.
    pub fn finish(&self) {
        held(&self.lock).take();
        let finishing = std::mem::take(&mut *held(&self.finishing));
        for thread in finishing {
            let _ = thread.join();
        }
        self.keeper.end();
    }
}

pub fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread without privileges. None: there is none to be had, which is told in the supervisor's log.
pub fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let unprivileged = move || match privileges::give_up() {
        Ok(()) => work(),
        Err(error) => eprintln!("Failed to give up privileges: {error}"),
    };
    let started = thread::Builder::new().name(name.to_string()).stack_size(STACK).spawn(unprivileged);
    started.inspect_err(|error| eprintln!("Failed to start a thread ({name}): {error}")).ok()
}
