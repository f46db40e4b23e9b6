//! A container's task: the one thread that owns its life. Everybody else sends it orders.
//!
//! ```text
//!            Start               end, policy says no
//!   idle ───────────► running ───────────────────────► idle (alone in its sandbox: over)
//!                     ▲     │ end, policy says yes
//!              timer  │     ▼
//!                     resting ── Stop ──► idle
//! ```

mod ending;
mod export;
mod handle;
mod run;
mod starting;
mod volumes;
mod waiters;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

pub use handle::{Order, TaskHandle};
use hull_guest::protocol::{ContainerArgs, Request, SignalArgs, UpdateArgs};

use super::ContainerPlan;
use super::caller::{self, Caller, state_error};
use super::control::{self, Exit, Until};
use super::fan::Fan;
use super::input::Input;
use super::shared::{Shared, start_thread};
use crate::container::restart::Backoff;
use crate::logs::Writer;
use crate::sandbox::agent::AgentError;
use crate::store::db::states::Change;
use ending::Escalation;
use run::Run;
use starting::Starting;
use volumes::Shown;
use waiters::Waiters;

const SIGKILL: u8 = 9;
/// What an agent may take to pass a signal on, and a killed container to be gone; then its sandbox goes.
const PATIENCE: Duration = Duration::from_secs(10);
/// The exit code of a container that was killed together with its sandbox: as if by SIGKILL.
const KILLED: i32 = 137;

enum Phase {
    /// `prepared`: everything up to the exec is done.
    Idle {
        prepared: Option<Run>,
    },
    Running(Run),
    Resting {
        until: Instant,
        exit: Exit,
    },
}

struct Task {
    shared: Arc<Shared>,
    plan: ContainerPlan,
    handle: TaskHandle,
    orders: Receiver<Order>,
    phase: Phase,
    runs: u64,
    restarts: u32,
    backoff: Backoff,
    log: Option<Arc<Writer>>,
    waiters: Waiters,
    /// A user wants it to have ended.
    stopping: bool,
    /// And then to start again.
    again: Option<Vec<Caller>>,
    /// When patience with the present run ends, and what comes then.
    deadline: Option<(Instant, Escalation)>,
    over: bool,
    /// Who reads the files of a container that does not run.
    exporter: Option<Caller>,
    /// The pod ends, and this with it.
    ending: Option<Sender<()>>,
    shown: Shown,
    /// The last start was, while it waited for its volumes.
    called_off: bool,
}

/// Starts a container's task. None: there are no threads to be had.
pub fn spawn(shared: &Arc<Shared>, plan: ContainerPlan) -> Option<TaskHandle> {
    let (sender, orders) = mpsc::channel();
    let process = &plan.config.process;
    let fans = Fan::new().and_then(|stdout| Ok((stdout, Fan::new()?)));
    let (stdout, stderr) = fans.inspect_err(|error| eprintln!("Failed to make a pipe: {error}")).ok()?;
    let handle = TaskHandle {
        orders: sender,
        stdout,
        stderr,
        input: Input::new(process.terminal.is_some(), plan.config.stdin_once),
        attachable: Arc::new(AtomicBool::new(true)),
        starting: Starting::new(plan.config.stop.signal),
    };
    let task = Task {
        shared: shared.clone(),
        plan,
        handle: handle.clone(),
        orders,
        phase: Phase::Idle { prepared: None },
        runs: 0,
        restarts: 0,
        backoff: Backoff::default(),
        log: None,
        waiters: Waiters::default(),
        stopping: false,
        again: None,
        deadline: None,
        over: false,
        exporter: None,
        ending: None,
        shown: Shown::default(),
        called_off: false,
    };
    start_thread("container", move || task.live())?;
    Some(handle)
}

impl Task {
    fn live(mut self) {
        // What has to be there before the start is made ready while the client is still on its way.
        let mut failed = match self.prepare() {
            Ok(run) => {
                self.phase = Phase::Idle { prepared: Some(run) };
                None
            }
            Err(error) => Some(error),
        };
        while !self.over {
            match self.next() {
                Some(Order::Start(wait, caller)) => self.on_start(wait, caller, failed.take()),
                Some(Order::Export(caller)) => self.on_export(caller, failed.take()),
                Some(order) => self.on(order),
                None => self.on_time(),
            }
        }
    }

    /// None: a point in time has come.
    fn next(&self) -> Option<Order> {
        let resting = match &self.phase {
            Phase::Resting { until, .. } => Some(*until),
            Phase::Idle { .. } | Phase::Running(_) => None,
        };
        let until = [resting, self.deadline.map(|(at, _)| at)].into_iter().flatten().min();
        let order = match until {
            Some(until) => self.orders.recv_timeout(until.saturating_duration_since(Instant::now())),
            None => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        // The task itself holds a sender, so there is always somebody to wait for.
        let order = order.ok();
        order.iter().for_each(|order| self.handle.starting.read(order));
        order
    }

    fn on(&mut self, order: Order) {
        match order {
            Order::Start(wait, caller) => self.on_start(wait, caller, None),
            Order::Abandon => self.on_abandon(),
            Order::Stop { args, again, caller } => self.on_stop(&args, again, caller),
            Order::Kill(signal, caller) => self.on_kill(signal, caller),
            Order::Signal(signal, caller) => caller.answer(&self.signal(signal)),
            Order::Resize(args, caller) => caller.answer(&self.ask(&Request::Resize(args))),
            Order::Pause(caller) => self.on_pause(caller),
            Order::Resume(caller) => self.on_resume(caller),
            Order::Update(args, caller) => self.on_update(*args, caller),
            Order::Wait(args, caller) => self.on_wait(args, caller),
            Order::Forget(caller) => self.on_forget(caller),
            Order::Leave(sender) => self.on_leave(&sender),
            Order::End { timeout_seconds, ended } => self.on_end(timeout_seconds, ended),
            Order::Export(caller) => self.on_export(caller, None),
            Order::Exported => self.exported(),
            Order::Dropped { session } => self.waiters.drop_session(&session),
            Order::Ended { run, result } => self.on_ended(run, result),
        }
    }

    fn on_start(&mut self, wait: Option<control::WaitArgs>, caller: Caller, failed: Option<run::StartError>) {
        let started = match (&self.phase, failed) {
            (Phase::Idle { .. }, None) => {
                (self.restarts, self.backoff) = (0, Backoff::default());
                self.start()
            }
            (Phase::Idle { .. }, Some(error)) => Err(self.start_failed(error)),
            // As docker: to start what runs is no mistake.
            (Phase::Running(_) | Phase::Resting { .. }, _) => Ok(()),
        };
        match (started, wait) {
            (Ok(()), None) => caller.done(),
            // Its end comes as an order, so it is not told before this.
            (Ok(()), Some(wait)) => self.waiters.add(wait, caller),
            (Err(error), _) => {
                caller.refuse(error);
                self.leave();
            }
        }
    }

    fn on_abandon(&mut self) {
        if !matches!(self.phase, Phase::Idle { .. }) || self.runs > 0 {
            return;
        }
        let (id, removed) = (self.plan.id.clone(), self.plan.goes_if_never_started());
        if self.shared.is_pod() {
            self.let_go();
            let _ = self.shared.keeper.run(move |kept| kept.abandon_member(&id, removed));
        } else {
            self.shared.end_sandbox(false);
            let volumes = self.has_volumes();
            let _ = self.shared.keeper.run(move |kept| kept.abandon(&id, removed, volumes));
        }
        self.leave();
    }

    /// Out of the pod, with what was made ready for a start.
    fn let_go(&mut self) {
        let before = std::mem::replace(&mut self.phase, Phase::Idle { prepared: None });
        if let Phase::Idle { prepared: Some(run) } = before {
            self.delete_from(&run.sandbox);
        }
        // Of a start that failed.
        self.take_back();
        self.shared.forget(&self.plan.id, &self.handle);
        self.over = true;
    }

    fn on_pause(&mut self, caller: Caller) {
        let reply = self.ask(&Request::Pause(self.args()));
        if reply.is_ok() {
            self.record(Change::Paused);
        }
        caller.answer(&reply);
    }

    fn on_resume(&mut self, caller: Caller) {
        let reply = self.ask(&Request::Resume(self.args()));
        if reply.is_ok() {
            self.record(Change::Unpaused);
        }
        caller.answer(&reply);
    }

    fn on_update(&mut self, args: control::UpdateArgs, caller: Caller) {
        if matches!(self.phase, Phase::Running(_)) {
            let room = self.shared.most_memory().unwrap_or(u64::MAX);
            if args.resources.memory_bytes.is_some_and(|bytes| bytes > room) {
                return caller.refuse(state_error(format!(
                    "The virtual machine was built with room for a limit of {} MiB; stop the container to give it more",
                    room >> 20
                )));
            }
            let container = self.plan.id.clone();
            let resources = self.plan.config.to_update(&args.resources);
            let request = Request::Update(UpdateArgs { container, resources });
            if let Err(error) = self.ask(&request) {
                return caller.refuse(error);
            }
        }
        let config = &mut self.plan.config;
        config.update(args.resources, args.restart);
        let json = config.to_row();
        self.record(Change::Config { json });
        caller.done();
    }

    fn on_wait(&mut self, args: control::WaitArgs, caller: Caller) {
        match &self.phase {
            Phase::Idle { prepared: None } if self.runs > 0 && args.until == Until::NotRunning => {
                if caller.promise() {
                    caller.answer(&Ok(control::Answer::Exited(self.waiters.last.clone())));
                }
            }
            _ => self.waiters.add(args, caller),
        }
    }

    fn on_leave(&mut self, sender: &Sender<bool>) {
        let idle = matches!(self.phase, Phase::Idle { .. });
        if idle {
            self.let_go();
            self.leave();
        }
        let _ = sender.send(idle);
    }

    fn on_forget(&mut self, caller: Caller) {
        match self.phase {
            Phase::Idle { .. } => {
                self.let_go();
                self.leave();
                caller.done();
            }
            Phase::Running(_) | Phase::Resting { .. } => caller.refuse(state_error("The container runs")),
        }
    }

    fn args(&self) -> ContainerArgs {
        ContainerArgs { container: self.plan.id.clone() }
    }

    fn signal(&self, signal: u8) -> control::Reply {
        self.ask(&Request::Signal(SignalArgs { container: self.plan.id.clone(), signal }))
    }

    fn ask(&self, request: &Request) -> control::Reply {
        match self.call(request) {
            Ok(()) => Ok(control::Answer::Done),
            Err(AgentError::Refused(error)) => Err(error),
            Err(error) => Err(caller::failure(&error)),
        }
    }

    /// A call to the agent that is answered with success or not at all.
    fn call(&self, request: &Request) -> Result<(), AgentError> {
        let Phase::Running(run) = &self.phase else {
            let refused = state_error(format!("Container {} is not running", self.plan.id));
            return Err(AgentError::Refused(refused));
        };
        run.sandbox.agent().done_within(request, PATIENCE)
    }

    /// False: somebody removes the container.
    fn record(&self, change: Change) -> bool {
        let id = self.plan.id.clone();
        self.shared.keeper.run(move |kept| kept.change(&id, &change)) != Some(false)
    }

    /// Alone in its sandbox, a container that has ended takes the supervisor with it.
    fn leave(&mut self) {
        self.handle.attachable.store(false, Ordering::Release);
        self.handle.stdout.release();
        self.handle.stderr.release();
        self.handle.input.close();
        if !self.shared.is_pod() {
            self.over = true;
            if self.called_off {
                self.answer_who_called_off();
            }
            self.shared.finish();
        }
        self.over |= self.ending.is_some();
    }
}
