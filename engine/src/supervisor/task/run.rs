//! One run of a container: from the sandbox to its exit.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hull_guest::protocol::{CallError, ErrorKind, ExitStatus, OverlaidFile, Request, Stream};

use super::super::ContainerPlan;
use super::super::caller::{Caller, failure};
use super::super::control::{Answer, Exit};
use super::super::shared::start_thread;
use super::super::{health, output::Output};
use super::{KILLED, Order, PATIENCE, Phase, Task};
use crate::container::restart::Backoff;
use crate::container::secrets::{self, SecretError};
use crate::container::spec;
use crate::logs::{self, Writer};
use crate::network::dns::{Files, HostFiles};
use crate::network::model::Mode;
use crate::sandbox::agent::{self, AgentError};
use crate::sandbox::mode::Isolation;
use crate::sandbox::{LaunchError, Sandbox};
use crate::store::{self, db::states::Change};
use crate::volume::attach::AttachError;

/// What it may take to fill volumes with what the image has, gigabytes of small files on a slow disk included.
const FILL_LIMIT: Duration = Duration::from_secs(3600);

pub struct Run {
    pub sandbox: Arc<Sandbox>,
    /// The first process as the host sees it: a machine's is its VMM.
    pid: u32,
    since: Instant,
    /// One an output, told when all of it is in the log.
    drained: Vec<Receiver<()>>,
    _health: Option<health::Guard>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Agent(AgentError),
    #[error("{0}")]
    Died(String),
    #[error("Failed to look at the container's networks")]
    Networks(#[from] store::Error),
    #[error("The start was called off: the container was killed, stopped or removed meanwhile")]
    CalledOff,
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("Failed to open the container's log")]
    Log(#[from] logs::LogError),
    #[error("Failed to start a thread for the container")]
    Thread,
}

impl StartError {
    /// Whether it may be that the container whose processes this one shares is not there again yet.
    fn is_of_another(&self) -> bool {
        match self {
            StartError::Agent(AgentError::Refused(error)) => {
                matches!(error.kind, ErrorKind::NoContainer | ErrorKind::State)
            }
            _ => false,
        }
    }

    /// Whether the sandbox came to its end, with nothing said about the container.
    fn is_of_the_sandbox(&self) -> bool {
        matches!(self, StartError::Died(_) | StartError::Launch(LaunchError::Died(_)))
    }

    /// The agent's own kind, which becomes the exit code.
    pub(super) fn call_error(&self) -> CallError {
        match self {
            StartError::Agent(AgentError::Refused(error)) => error.clone(),
            StartError::Launch(LaunchError::Agent(error)) => failure(error),
            other => failure(other),
        }
    }
}

/// Docker's codes: 127 not found, 126 cannot be executed; what hull itself could not do is 128.
fn exit_code(kind: ErrorKind) -> i32 {
    match kind {
        ErrorKind::CommandNotFound => 127,
        ErrorKind::CannotExecute => 126,
        _ => 128,
    }
}

impl Task {
    /// Everything up to the exec.
    pub(super) fn prepare(&mut self) -> Result<Run, StartError> {
        let preparing = self.begin_attach();
        let sandbox = self.shared.sandbox()?;
        let (mounts, filling) = self.attach(preparing, &sandbox)?;
        let plan = &self.plan;
        let source = sandbox.root_source(&plan.id, &plan.root)?;
        let mut files = self.files()?;
        files.extend(self.secrets()?);
        let cgroup = sandbox.container_cgroup(&plan.id);
        let spec = spec::build(&plan.id, &plan.config, source, cgroup, files, mounts);
        let limit = if filling.is_empty() { agent::LIMIT } else { FILL_LIMIT };
        let created = sandbox.agent().create(spec, limit).map_err(|error| self.told(&sandbox, error))?;
        self.seal(&sandbox)?;
        filling.finish().map_err(AttachError::from)?;
        let pid = match sandbox.mode() {
            Isolation::Vm => sandbox.pid(),
            Isolation::Namespace => created.pid,
        };
        Ok(Run { sandbox, pid, since: Instant::now(), drained: Vec::new(), _health: None })
    }

    /// /etc/hosts and the like, which say what the sandbox is connected to.
    fn files(&self) -> Result<Vec<OverlaidFile>, StartError> {
        let config = &self.plan.config;
        let (sandbox, network) = (self.shared.id().to_string(), config.network.clone());
        let files = if network.mode == Mode::None && !self.shared.is_pod() {
            Files { network, ..Files::default() }
        } else {
            let loaded =
                self.shared.keeper.run(move |kept| Files::load(kept.store()?.db(), &sandbox, &network));
            loaded.unwrap_or_else(|| Ok(Files::default()))?
        };
        Ok(files.overlaid(&config.hostname, &HostFiles::read()))
    }

    /// Read with privileges: the user may read files that are another user's.
    fn secrets(&self) -> Result<Vec<OverlaidFile>, StartError> {
        let (id, secrets) = (self.plan.id.clone(), self.plan.config.secrets.clone());
        if secrets.is_empty() {
            return Ok(Vec::new());
        }
        let read = self.shared.keeper.run(move |kept| {
            Ok::<_, StartError>(secrets::files(&secrets, &kept.store()?.paths().run_secrets(&id))?)
        });
        read.unwrap_or_else(|| Ok(Vec::new()))
    }

    pub(super) fn start(&mut self) -> Result<(), CallError> {
        let prepared = match std::mem::replace(&mut self.phase, Phase::Idle { prepared: None }) {
            Phase::Idle { prepared } => prepared,
            other => {
                self.phase = other;
                return Ok(());
            }
        };
        // What was made ready in a sandbox that has died since is of no use.
        let prepared = prepared.filter(|run| !run.sandbox.has_ended());
        let prepared = prepared.map_or_else(|| self.prepare(), Ok);
        match prepared.and_then(|run| self.go(run)) {
            Ok(run) => {
                (self.stopping, self.deadline) = (false, None);
                self.phase = Phase::Running(run);
                Ok(())
            }
            Err(error) => Err(self.start_failed(error)),
        }
    }

    /// From the prepared container to its running command.
    fn go(&mut self, mut run: Run) -> Result<Run, StartError> {
        self.runs += 1;
        let log = self.log()?;
        let process = &self.plan.config.process;
        let agent = run.sandbox.agent();
        let attach =
            |stream| agent.attach(&self.plan.id, stream).map_err(|error| self.told(&run.sandbox, error));
        if process.stdin {
            self.handle.input.open(attach(Stream::Stdin)?);
        }
        let mut outputs = vec![(Stream::Stdout, &self.handle.stdout)];
        if process.terminal.is_none() {
            outputs.push((Stream::Stderr, &self.handle.stderr));
        }
        let mut drained = Vec::new();
        for (stream, fan) in outputs {
            fan.reset();
            let (source, fan) = (attach(stream)?, fan.clone());
            let log = Box::new(Output::new(log.clone(), log_stream(stream)));
            let (sender, receiver) = mpsc::channel();
            let carrier = start_thread("output", move || fan.carry(source, log, sender));
            self.shared.remember(carrier.ok_or(StartError::Thread)?);
            drained.push(receiver);
        }
        let started =
            agent.done(&Request::Start(self.args())).map_err(|error| self.told(&run.sandbox, error));
        if let Err(error) = started {
            self.handle.stdout.ended();
            self.handle.stderr.ended();
            return Err(error);
        }
        // While the command runs already; before the answer, so that who has that finds it.
        self.record(Change::Started { pid: run.pid });
        self.watch(&run)?;
        run.drained = drained;
        run.since = Instant::now();
        run._health = self.plan.config.health.as_ref().and_then(|check| {
            health::start(&self.shared, &run.sandbox, &self.plan.id, &self.plan.config.process, check)
        });
        Ok(run)
    }

    /// Hears of the run's end in a thread of its own, since the agent keeps the answer back until then.
    fn watch(&self, run: &Run) -> Result<(), StartError> {
        let waiting =
            run.sandbox.agent().wait_begin(&self.plan.id).map_err(|error| self.told(&run.sandbox, error))?;
        let (agent, orders, number) = (run.sandbox.agent().clone(), self.handle.orders.clone(), self.runs);
        let watching = start_thread("end", move || {
            let result = agent.wait_reply(&waiting);
            let _ = orders.send(Order::Ended { run: number, result });
        });
        watching.map(drop).ok_or(StartError::Thread)
    }

    fn log(&mut self) -> Result<Arc<Writer>, StartError> {
        if let Some(log) = &self.log {
            return Ok(log.clone());
        }
        let ContainerPlan { id, config, root, .. } = &self.plan;
        let labels = config.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let env = config.process.env.iter().filter_map(|word| std::str::from_utf8(word.as_bytes()).ok());
        let attrs = config.log.attrs(labels, env.filter_map(|word| word.split_once('=')));
        let log = Arc::new(Writer::open(&root.dir, id, &config.log, &attrs)?);
        self.log = Some(log.clone());
        Ok(log)
    }

    /// Records a start that came to nothing, and leaves nothing of it.
    pub(super) fn start_failed(&mut self, error: StartError) -> CallError {
        let error = error.call_error();
        let (exit_code, text) = (exit_code(error.kind), error.message.clone());
        let exit = Exit { code: exit_code, oom_killed: false, error: text.clone() };
        let change = Change::StartFailed { exit_code, error: text };
        self.phase = Phase::Idle { prepared: None };
        self.tidy_up(&change, &exit);
        error
    }

    pub(super) fn on_ended(&mut self, number: u64, result: Result<ExitStatus, AgentError>) {
        if number != self.runs || !matches!(self.phase, Phase::Running(_)) {
            return;
        }
        let Phase::Running(run) = std::mem::replace(&mut self.phase, Phase::Idle { prepared: None }) else {
            return;
        };
        self.deadline = None;
        self.handle.stdout.ended();
        self.handle.stderr.ended();
        self.handle.input.close();
        self.drain(&run);
        let exit = match result {
            Ok(status) => {
                Exit { code: status.code.into(), oom_killed: status.oom_killed, error: String::new() }
            }
            Err(AgentError::Refused(error)) => Exit { code: KILLED, oom_killed: false, error: error.message },
            Err(_) => {
                let error = self.shared.cause_of_death(&run.sandbox);
                Exit { code: KILLED, oom_killed: false, error }
            }
        };
        self.decide(&exit, run.since.elapsed());
    }

    /// Waits until the rest of its output is in the log. An agent that keeps an output open, or goes on
    /// sending, is not waited for any longer than one that does not answer.
    fn drain(&self, run: &Run) {
        let deadline = Instant::now() + PATIENCE;
        for drained in &run.drained {
            let left = deadline.saturating_duration_since(Instant::now());
            if drained.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                self.handle.stdout.cut();
                self.handle.stderr.cut();
                let _ = drained.recv();
            }
        }
    }

    /// A closed connection is the symptom; the sandbox's own last word is the cause.
    fn told(&self, sandbox: &Arc<Sandbox>, error: AgentError) -> StartError {
        match error {
            error if error.is_gone() => StartError::Died(self.shared.cause_of_death(sandbox)),
            error => StartError::Agent(error),
        }
    }

    /// After an end: again, or not.
    fn decide(&mut self, exit: &Exit, ran: Duration) {
        let again = self.again.take();
        let wanted = self.plan.config.restart.wants(exit.code, self.restarts);
        if again.is_none() && (self.stopping || !wanted) {
            return self.come_to_rest(exit);
        }
        if let Some(sandbox) = self.shared.running_sandbox() {
            self.delete_from(&sandbox);
        }
        self.handle.input.reset();
        if let Some(callers) = again {
            if !self.record(exited(exit)) {
                return self.come_to_rest(exit);
            }
            self.waiters.ended(exit);
            return self.start_for(callers);
        }
        self.restarts += 1;
        let (exit_code, oom_killed, error) = (exit.code, exit.oom_killed, exit.error.clone());
        if !self.record(Change::Restarting { exit_code, oom_killed, error }) {
            return self.come_to_rest(exit);
        }
        self.waiters.ended(exit);
        let until = Instant::now() + self.backoff.after(ran);
        self.phase = Phase::Resting { until, exit: exit.clone() };
    }

    /// By a user: the count of restarts begins anew, as docker's.
    pub(super) fn start_for(&mut self, callers: Vec<Caller>) {
        (self.restarts, self.backoff) = (0, Backoff::default());
        let started = self.start();
        for caller in callers {
            caller.answer(&started.clone().map(|()| Answer::Done));
        }
        if started.is_err() {
            self.leave();
        }
    }

    pub(super) fn start_again(&mut self) {
        let prepared = self.prepare();
        if let (Phase::Resting { .. }, Err(StartError::CalledOff)) = (&self.phase, &prepared) {
            // Whoever did it has sent an order, which finds it as it was.
            return;
        }
        // A machine that was killed while it came up has nothing to do with what failed before.
        let may_pass = |error: &StartError| {
            error.is_of_the_sandbox() || self.plan.config.share.pid.is_some() && error.is_of_another()
        };
        if let (Phase::Resting { until, .. }, Err(error)) = (&mut self.phase, &prepared)
            && may_pass(error)
        {
            *until = Instant::now() + self.backoff.after(Duration::ZERO);
            return;
        }
        let started = match prepared {
            Ok(run) => {
                self.phase = Phase::Idle { prepared: Some(run) };
                self.start()
            }
            Err(error) => Err(self.start_failed(error)),
        };
        if let Err(error) = started {
            eprintln!("Failed to start {} again: {}", self.plan.id, error.message);
            self.leave();
        }
    }

    /// It has ended for good.
    pub(super) fn come_to_rest(&mut self, exit: &Exit) {
        self.phase = Phase::Idle { prepared: None };
        self.tidy_up(&exited(exit), exit);
        self.leave();
    }

    /// The container out of its sandbox, the sandbox if it was its own, the record, and whoever waits.
    fn tidy_up(&mut self, change: &Change, exit: &Exit) {
        let alone = !self.shared.is_pod();
        let removed = self.plan.config.remove;
        if alone {
            self.shared.end_sandbox(!removed);
        } else if let Some(sandbox) = self.shared.running_sandbox() {
            self.delete_from(&sandbox);
        }
        let (id, change, volumes) = (self.plan.id.clone(), change.clone(), alone && self.has_volumes());
        let removed = self.shared.keeper.run(move |kept| {
            if volumes {
                kept.release_volumes(&id);
            }
            kept.finish(&id, !alone, &change, removed)
        });
        if removed == Some(true) {
            self.shared.forget(&self.plan.id, &self.handle);
            self.over = true;
        }
        if alone {
            // Who hears of the end may start it again at once.
            self.shared.let_go();
        }
        self.waiters.at_rest(exit, removed == Some(true));
    }
}

pub(super) fn exited(exit: &Exit) -> Change {
    Change::Exited { exit_code: exit.code, oom_killed: exit.oom_killed, error: exit.error.clone() }
}

fn log_stream(stream: Stream) -> logs::Stream {
    match stream {
        Stream::Stdin | Stream::Stdout => logs::Stream::Stdout,
        Stream::Stderr => logs::Stream::Stderr,
    }
}
