//! What the supervisor's threads have in common: the sandbox, its containers' tasks, the lock.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use hull_guest::protocol::{CallError, ErrorKind};

use super::caller::{Caller, state_error};
use super::control::{Answer, Reply};
use super::exec::Execs;
use super::keeper::Keeper;
use super::slot::Slot;
use super::task::{self, Order, TaskHandle};
use super::{ContainerPlan, STACK, privileges};
use crate::network::Place;
use crate::sandbox::mode::Isolation;
use crate::sandbox::{self, LaunchError, Parts, Sandbox, vm};

/// Of a thread that talks to plugins and resolvers, too.
const PRIVILEGED_STACK: usize = 1 << 20;

pub struct Shared {
    slot: Slot,
    members: Mutex<Members>,
    pub execs: Execs,
    pub keeper: Keeper,
    /// Let go when nothing of the sandbox is left, however long a client takes to read the rest.
    lock: Mutex<Option<OwnedFd>>,
    /// Threads with something for a client, which the process does not end before.
    finishing: Mutex<Vec<JoinHandle<()>>>,
    /// Callers whose answer is the sandbox's end.
    kept: Mutex<Vec<Caller>>,
}

/// The containers' tasks.
#[derive(Default)]
struct Members {
    tasks: HashMap<String, TaskHandle>,
    /// Nobody joins any more.
    ending: bool,
}

/// Why a container was not taken into care.
pub enum NotAdded {
    Ending,
    Thread,
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
            slot: Slot::new(plan, parts, first, keeper.clone()),
            members: Mutex::default(),
            execs: Execs::default(),
            keeper,
            lock: Mutex::new(Some(lock)),
            finishing: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    pub fn id(&self) -> &str {
        &self.slot.plan().id
    }

    pub fn is_pod(&self) -> bool {
        self.slot.plan().pod.is_some()
    }

    pub fn mode(&self) -> Isolation {
        self.slot.plan().mode
    }

    /// The largest memory limit that the sandbox has room for; none, where that is the host's matter.
    pub fn most_memory(&self) -> Option<u64> {
        let plan = self.slot.plan();
        (plan.mode == Isolation::Vm).then(|| vm::most_memory(&plan.resources))
    }

    /// The sandbox, started (again) where it is not there.
    pub fn sandbox(&self) -> Result<Arc<Sandbox>, LaunchError> {
        self.slot.get()
    }

    pub fn cause_of_death(&self, sandbox: &Arc<Sandbox>) -> String {
        self.slot.cause_of_death(sandbox)
    }

    /// Kills a sandbox, for a reason that is told to everybody who asks what it died of.
    pub fn condemn(&self, sandbox: &Arc<Sandbox>, why: String) {
        self.slot.condemn(sandbox, why);
    }

    /// The sandbox if it is up.
    pub fn running_sandbox(&self) -> Option<Arc<Sandbox>> {
        self.slot.running()
    }

    /// Connects the sandbox, which is up, to one more network.
    pub fn connect(&self, endpoint: &str) -> Reply {
        let sandbox = self.slot.settled().ok_or_else(|| state_error("The sandbox is not up"))?;
        self.slot.link().connect(self.slot.plan(), &sandbox, endpoint).map(|()| Answer::Done)
    }

    /// Takes it from a network again.
    pub fn disconnect(&self, endpoint: &str) -> Reply {
        let sandbox = self.slot.settled().ok_or_else(|| state_error("The sandbox is not up"))?;
        self.slot.link().disconnect(&sandbox, endpoint).map(|()| Answer::Done)
    }

    /// Ends the sandbox, if it runs. `flush`: writable layers outlive it.
    pub fn end_sandbox(&self, flush: bool) {
        self.slot.end(flush);
    }

    /// Takes a container into care.
    pub fn add(self: &Arc<Self>, plan: ContainerPlan) -> Result<TaskHandle, NotAdded> {
        let id = plan.id.clone();
        let mut members = held(&self.members);
        if members.ending {
            return Err(NotAdded::Ending);
        }
        let task = task::spawn(self, plan).ok_or(NotAdded::Thread)?;
        members.tasks.insert(id, task.clone());
        Ok(task)
    }

    pub fn task(&self, id: &str) -> Result<TaskHandle, CallError> {
        held(&self.members).tasks.get(id).cloned().ok_or_else(|| CallError {
            kind: ErrorKind::NoContainer,
            message: format!("This supervisor has no container {id}"),
        })
    }

    /// Leaves another task alone that has taken its place.
    pub fn forget(&self, id: &str, task: &TaskHandle) {
        let tasks = &mut held(&self.members).tasks;
        if tasks.get(id).is_some_and(|present| present.is(task)) {
            tasks.remove(id);
        }
    }

    pub fn is_ending(&self) -> bool {
        held(&self.members).ending
    }

    /// A caller that hears of the sandbox's end by its connection's.
    pub fn keep_until_end(&self, caller: Caller) {
        held(&self.kept).push(caller);
    }

    /// Ends a pod and what is in it. Who comes second has nothing to do.
    pub fn end_pod(&self, timeout_seconds: Option<i64>) {
        let tasks: Vec<TaskHandle> = {
            let mut members = held(&self.members);
            if std::mem::replace(&mut members.ending, true) {
                return;
            }
            members.tasks.values().cloned().collect()
        };
        self.slot.refuse_starts();
        let (sender, ended) = mpsc::channel();
        for task in tasks {
            task.tell(Order::End { timeout_seconds, ended: sender.clone() });
        }
        drop(sender);
        // Nobody sends: the channel closes with the last task.
        let _: Result<(), _> = ended.recv();
        self.end_sandbox(true);
        let id = self.id().to_string();
        let _ = self.keeper.run(move |kept| kept.end_sandbox(&id));
        self.finish();
    }

    /// A sandbox that did not come up, and that nobody is in, is of no use.
    pub fn end_if_empty(&self) {
        if self.tasks().is_empty() {
            self.end_pod(None);
        }
    }

    pub fn tasks(&self) -> Vec<TaskHandle> {
        held(&self.members).tasks.values().cloned().collect()
    }

    /// A thread that the end of the supervisor waits for.
    pub fn remember(&self, thread: JoinHandle<()>) {
        let mut finishing = held(&self.finishing);
        finishing.retain(|thread| !thread.is_finished());
        finishing.push(thread);
    }

    /// Nothing is left of the sandbox: another may take its place.
    pub fn let_go(&self) {
        held(&self.lock).take();
    }

    /// The end of the supervisor: the lock first, then what clients have still to read, then the process.
    pub fn finish(&self) {
        self.let_go();
        held(&self.kept).clear();
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
    start_thread_in(Place::Current, name, work)
}

/// A thread with its maker's privileges, the keeper's. It reads nothing that comes from a guest.
pub fn start_privileged(name: &str, work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    told(name, thread::Builder::new().name(name.to_string()).stack_size(PRIVILEGED_STACK).spawn(work))
}

fn told(name: &str, started: io::Result<JoinHandle<()>>) -> Option<JoinHandle<()>> {
    started.inspect_err(|error| eprintln!("Failed to start a thread ({name}): {error}")).ok()
}

/// The same, in the network namespace of the bridges.
pub fn start_thread_in(
    place: Place,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Option<JoinHandle<()>> {
    let unprivileged = move || {
        let failed = |what: &'static str| move |error| eprintln!("Failed to {what}: {error}");
        let entered = place.enter_for_good().map_err(failed("enter the network namespace of the bridges"));
        let harmless = entered.and_then(|()| privileges::give_up().map_err(failed("give up privileges")));
        if harmless.is_ok() {
            work();
        }
    };
    told(name, thread::Builder::new().name(name.to_string()).stack_size(STACK).spawn(unprivileged))
}
