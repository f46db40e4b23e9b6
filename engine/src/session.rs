//! The foreground client of a running container: its streams, the terminal, signals, the end.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use hull_guest::protocol::{ExitStatus, Request, ResizeArgs, SignalArgs};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::sandbox::Sandbox;
use crate::sandbox::agent::{Agent, AgentError};
use crate::terminal::{self, RawMode};

/// What is passed on to the container, and SIGWINCH, which becomes a resize. The rest keeps its meaning
/// here: job control stops and continues hull, faults are its own.
const FORWARDED: [Signal; 15] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGTERM,
    Signal::SIGSTKFLT,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGSYS,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
];

/// So many SIGINT or SIGTERM end a container that does not listen to them (docker's number).
const PATIENCE: u32 = 3;

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("Failed to take over the signals")]
    Signals(#[source] Errno),
    #[error("Failed to read /dev/urandom")]
    Random(#[source] io::Error),
    #[error("Failed to start a thread for the container's streams")]
    Thread(#[source] io::Error),
    #[error("Failed to wait for the container")]
    Poll(#[source] Errno),
    #[error("Ended by force after {PATIENCE} signals that the container did not act on")]
    Forced,
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Signals held back from the first moment, so that none is lost while the container starts.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    pub fn block() -> Result<Signals, SessionError> {
        let mut set = SigSet::empty();
        for signal in FORWARDED.into_iter().chain([Signal::SIGWINCH]) {
            set.add(signal);
        }
        set.thread_block().map_err(SessionError::Signals)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&set, flags).map(Signals).map_err(SessionError::Signals)
    }

    fn next(&self) -> Option<Signal> {
        let info = self.0.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }
}

/// The container's streams, each a connection of its own.
#[derive(Debug)]
pub struct Streams {
    pub stdin: Option<UnixStream>,
    pub stdout: Option<UnixStream>,
    pub stderr: Option<UnixStream>,
}

/// Copies the streams and passes signals on until the container has ended and its output is out.
pub fn foreground(
    sandbox: &Sandbox,
    container: &str,
    streams: Streams,
    terminal: bool,
    signals: &Signals,
) -> Result<ExitStatus, SessionError> {
    let agent = sandbox.agent();
    let raw = if terminal && streams.stdin.is_some() { RawMode::enter() } else { None };
    if let Some(stdin) = streams.stdin {
        spawn("stdin", move || copy_stdin(stdin))?;
    }
    let mut outputs = Vec::new();
    if let Some(stream) = streams.stdout {
        outputs.push(spawn("stdout", move || copy_output(stream, io::stdout()))?);
    }
    if let Some(stream) = streams.stderr {
        outputs.push(spawn("stderr", move || copy_output(stream, io::stderr()))?);
    }
    let waiting = agent.wait_begin(container)?;
    let (told, end) = UnixStream::pair().map_err(SessionError::Thread)?;
    let waiter = {
        let agent = agent.clone();
        spawn("wait", move || wait(&agent, waiting, outputs, told))?
    };
    let mut messenger = None;
    let mut impatience = 0;
    loop {
        let [signalled, ended] = ready([signals.0.as_fd(), end.as_fd()])?;
        while let Some(signal) = signalled.then(|| signals.next()).flatten() {
            if matches!(signal, Signal::SIGINT | Signal::SIGTERM) {
                impatience += 1;
            }
            if impatience >= PATIENCE {
                return Err(SessionError::Forced);
            }
            let Some(request) = request(container, signal, terminal) else { continue };
            let messenger = match &messenger {
                Some(messenger) => messenger,
                None => messenger.insert(start_messenger(agent.clone())?),
            };
            let _ = messenger.send(request);
        }
        if ended {
            break;
        }
    }
    drop(raw);
    // A thread that panicked has told so on stderr.
    Ok(waiter.join().unwrap_or(Err(AgentError::Closed))?)
}

/// Waits for the container's end and for the last of its output, apart from the thread that listens to the
/// user, since a guest may keep either back. `told` closes when there is nothing left to wait for.
fn wait(
    agent: &Agent,
    waiting: UnixStream,
    outputs: Vec<JoinHandle<()>>,
    told: UnixStream,
) -> Result<ExitStatus, AgentError> {
    let status = agent.wait_reply(&waiting);
    if status.is_ok() {
        for output in outputs {
            let _ = output.join();
        }
    }
    drop(told);
    status
}

/// Waits until one of the descriptors is readable or closed, and tells which are.
fn ready<const N: usize>(fds: [std::os::fd::BorrowedFd; N]) -> Result<[bool; N], SessionError> {
    let mut polled = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    loop {
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) => return Ok(polled.map(|fd| fd.any().unwrap_or(true))),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(SessionError::Poll(errno)),
        }
    }
}

/// What a signal means for the container; nothing, for a window's size without a terminal.
fn request(container: &str, signal: Signal, terminal: bool) -> Option<Request> {
    let container = container.to_string();
    match signal {
        Signal::SIGWINCH if !terminal => None,
        Signal::SIGWINCH => {
            Some(Request::Resize(ResizeArgs { container, size: terminal::size(&io::stdout()) }))
        }
        signal => {
            let signal = u8::try_from(signal as i32).ok()?;
            Some(Request::Signal(SignalArgs { container, signal }))
        }
    }
}

/// Carries signals and sizes over, one after the other, apart from the thread that waits: a guest that
/// does not answer must not keep the user from ending it. A container that has just ended refuses.
fn start_messenger(agent: Agent) -> Result<Sender<Request>, SessionError> {
    let (sender, receiver) = mpsc::channel::<Request>();
    spawn("signals", move || receiver.iter().for_each(|request| drop(agent.done(&request))))?;
    Ok(sender)
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, SessionError> {
    /// A buffer and the frames around it.
    const STACK: usize = 128 * 1024;
    let builder = thread::Builder::new().name(name.to_string()).stack_size(STACK);
    builder.spawn(work).map_err(SessionError::Thread)
}

/// The caller's stdin to the container. Its end is passed on; a container that stopped reading ends it.
fn copy_stdin(mut to: UnixStream) {
    let mut buffer = [0u8; 32 * 1024];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) if to.write_all(buffer.get(..len).unwrap_or_default()).is_ok() => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The container's output to the caller. When the caller stops reading, so do we: the connection closes,
/// and the container's next write meets a closed pipe, as if it had written to the caller itself.
fn copy_output(mut from: UnixStream, mut to: impl Write) {
    let mut buffer = [0u8; 32 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(len) => {
                let bytes = buffer.get(..len).unwrap_or_default();
                if to.write_all(bytes).and_then(|()| to.flush()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
