//! Health checks of one run: a thread that asks, waits, and records.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use hull_guest::protocol::{ContainerArgs, ExecPlace, ExecSpec, Process, Request, SignalArgs, Stream, Text};

use super::shared::{Shared, start_thread};
use crate::container::health::{Health, HealthCheck, OUTPUT, Probe};
use crate::container::names;
use crate::sandbox::Sandbox;
use crate::sandbox::agent::{Agent, AgentError};
use crate::store::db::states::Change;
use crate::time::{now_ns, rfc3339_nano};

const SIGKILL: u8 = 9;
/// What a check that took too long has for a code, as docker's.
const TIMED_OUT: i32 = -1;

/// Ends the checks when the run ends.
pub struct Guard(#[expect(dead_code, reason = "its end is what is heard")] Sender<()>);

struct Checker {
    shared: Arc<Shared>,
    agent: Agent,
    container: String,
    process: Process,
    check: HealthCheck,
}

pub fn start(
    shared: &Arc<Shared>,
    sandbox: &Arc<Sandbox>,
    container: &str,
    process: &Process,
    check: &HealthCheck,
) -> Option<Guard> {
    let args = check.command()?.into_iter().map(Text::from).collect();
    let process = Process { args, terminal: None, stdin: false, init: false, ..process.clone() };
    let checker = Checker {
        shared: shared.clone(),
        agent: sandbox.agent().clone(),
        container: container.to_string(),
        process,
        check: check.clone(),
    };
    let (sender, ended) = mpsc::channel();
    start_thread("health", move || checker.run(&ended))?;
    Some(Guard(sender))
}

impl Checker {
    fn run(&self, ended: &Receiver<()>) {
        let began = Instant::now();
        let mut health = Health::starting();
        self.record(&health, None);
        // The end of the run is the channel's end.
        while ended.recv_timeout(self.check.interval()) == Err(RecvTimeoutError::Timeout) {
            let in_start_period = began.elapsed() < self.check.start_period();
            let probe = self.probe();
            let changed = health.add(probe, &self.check, in_start_period);
            self.record(&health, changed.then(|| health.status.clone()));
        }
    }

    fn record(&self, health: &Health, event: Option<String>) {
        let (id, json) = (self.container.clone(), serde_json::to_string(health).unwrap_or_default());
        let _ = self.shared.keeper.run(move |kept| kept.change(&id, &Change::Health { json, event }));
    }

    fn probe(&self) -> Probe {
        let start = rfc3339_nano(now_ns());
        let (exit_code, output) = match self.ask() {
            Ok(result) => result,
            Err(error) => (TIMED_OUT, super::caller::chain(&error)),
        };
        Probe { start, end: rfc3339_nano(now_ns()), exit_code, output }
    }

    /// Runs the check, and no longer than it may take.
    fn ask(&self) -> Result<(i32, String), AgentError> {
        let exec_id = names::new_id().map_err(|error| AgentError::Frame(error.into()))?;
        self.agent.exec(ExecSpec {
            container: self.container.clone(),
            exec_id: exec_id.clone(),
            process: self.process.clone(),
            place: ExecPlace::Container,
        })?;
        let result = self.ask_as(&exec_id);
        let _ = self.agent.done(&Request::Delete(ContainerArgs { container: exec_id }));
        result
    }

    fn ask_as(&self, exec_id: &str) -> Result<(i32, String), AgentError> {
        let outputs = [Stream::Stdout, Stream::Stderr].map(|stream| self.agent.attach(exec_id, stream));
        let args = || ContainerArgs { container: exec_id.to_string() };
        let waiting = self.agent.wait_begin(exec_id)?;
        self.agent.done(&Request::Start(args()))?;
        let deadline = Instant::now() + self.check.timeout();
        let mut output = Vec::new();
        let mut in_time = true;
        for stream in outputs {
            in_time &= read_until(&stream?, deadline, &mut output);
        }
        let text = String::from_utf8_lossy(&output).into_owned();
        if !in_time || !readable_by(&waiting, deadline) {
            let kill = SignalArgs { container: exec_id.to_string(), signal: SIGKILL };
            let _ = self.agent.done(&Request::Signal(kill));
            let limit = self.check.timeout();
            return Ok((TIMED_OUT, format!("Health check exceeded timeout ({limit:?}): {text}")));
        }
        Ok((self.agent.wait_reply(&waiting)?.code.into(), text))
    }
}

/// To its end, keeping the first bytes. False: it has not ended by then.
fn read_until(mut stream: &UnixStream, deadline: Instant, output: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let _ = stream.set_read_timeout(Some(left));
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(len) => {
                let room = OUTPUT.saturating_sub(output.len());
                output.extend_from_slice(buffer.get(..len.min(room)).unwrap_or_default());
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
        if Instant::now() >= deadline {
            return false;
        }
    }
}

fn readable_by(stream: &UnixStream, deadline: Instant) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let left = deadline.saturating_duration_since(Instant::now());
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)), Ok(1..))
}
