//! Health checks of one run: a thread that asks, waits, and records.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

use hull_guest::protocol::{ContainerArgs, ExecPlace, ExecSpec, Process, Request, SignalArgs, Stream, Text};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

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
        let in_time = read_until(outputs.into_iter().collect::<Result<_, _>>()?, deadline, &mut output);
        let text = String::from_utf8_lossy(&output).into_owned();
        if !in_time || !readable_by(&waiting, deadline) {
            let kill = SignalArgs { container: exec_id.to_string(), signal: SIGKILL };
            let _ = self.agent.done(&Request::Signal(kill));
            let limit = self.check.timeout();
            return Ok((TIMED_OUT, format!("Health check exceeded timeout ({limit:?}): {text}")));
        }
        Ok((self.agent.wait_reply_until(&waiting, Some(deadline))?.code.into(), text))
    }
}

/// All of them to their ends, as they come, keeping the first bytes: who waits for one of two pipes keeps a
/// process from filling the other. False: they have not ended by then.
fn read_until(mut streams: Vec<UnixStream>, deadline: Instant, output: &mut Vec<u8>) -> bool {
    while !streams.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds: Vec<PollFd> =
            streams.iter().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)).collect();
        let polled = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
        if left.is_zero() || !matches!(polled, Ok(_) | Err(Errno::EINTR)) {
            return false;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let mut ready = ready.into_iter();
        streams.retain_mut(|stream| !ready.next().unwrap_or(false) || read_some(stream, output));
    }
    true
}

/// False: it is at its end.
fn read_some(stream: &mut UnixStream, output: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(len @ 1..) => {
            let room = OUTPUT.saturating_sub(output.len());
            output.extend_from_slice(buffer.get(..len.min(room)).unwrap_or_default());
            true
        }
        Err(error) => error.kind() == std::io::ErrorKind::Interrupted,
        Ok(_) => false,
    }
}

fn readable_by(stream: &UnixStream, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)), Ok(1..))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn check_that_fills_its_second_output_first_is_read() {
        let (stdout, mut ours) = UnixStream::pair().unwrap();
        let (stderr, mut errors) = UnixStream::pair().unwrap();
        let check = thread::spawn(move || {
            errors.write_all(&[b'x'; 1 << 20]).unwrap();
            ours.write_all(b"done").unwrap();
        });
        let mut output = Vec::new();
        assert!(read_until(vec![stdout, stderr], Instant::now() + Duration::from_secs(60), &mut output));
        assert_eq!(output.len(), OUTPUT);
        check.join().unwrap();
    }

    #[test]
    fn check_that_keeps_an_output_open_is_not_waited_for() {
        let (stdout, _ours) = UnixStream::pair().unwrap();
        let mut output = Vec::new();
        assert!(!read_until(vec![stdout], Instant::now() + Duration::from_millis(10), &mut output));
    }
}
