//! The foreground client of a running container or exec: its streams, the terminal, signals, the end.

mod copy;
pub mod detach;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use hull_guest::protocol::{ExecSpec, Process, ResizeArgs, SignalArgs, Stream};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::container::config::Config;
use crate::container::names;
use crate::container::start::Supervised;
use crate::supervisor::client::{Client, ClientError, exited};
use crate::supervisor::control::{AttachArgs, Call, Exit, OutputArgs, Until, WaitArgs};
use crate::terminal::{self, RawMode};
use crate::text::escape;

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

/// So many SIGINT or SIGTERM make this client leave a container that does not listen to them (docker's
/// number).
const PATIENCE: u32 = 3;
/// What did not come to an end by the container's own doing (docker's code).
const FAILED: u8 = 125;

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
    #[error("Left after {PATIENCE} signals that the container did not act on; it runs on, hull kill ends it")]
    Left,
    #[error("{0}")]
    Died(String),
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Signals held back from the first moment, so that none is lost while the container starts.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// `proxy`: those for the container too, and not only the window's size.
    pub fn block(proxy: bool) -> Result<Signals, SessionError> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGWINCH);
        for signal in FORWARDED.into_iter().filter(|_| proxy) {
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

/// What a client wants of a container.
#[derive(Debug)]
pub struct Attachment<'a> {
    pub streams: Vec<Stream>,
    pub terminal: bool,
    /// The output waits for this client.
    pub live: bool,
    pub until: Until,
    /// Typed on a terminal, they leave the container to itself.
    pub detach_keys: &'a [u8],
}

impl<'a> Attachment<'a> {
    /// To those of a container's streams that are wanted, until its end.
    pub fn of(
        config: &Config,
        wanted: impl Fn(Stream) -> bool,
        live: bool,
        detach_keys: &'a [u8],
    ) -> Attachment<'a> {
        Attachment {
            streams: streams(&config.process, wanted),
            terminal: config.process.terminal.is_some(),
            live,
            until: if config.remove { Until::Removed } else { Until::NextExit },
            detach_keys,
        }
    }
}

/// Those that are wanted, of those that a process has.
pub fn streams(process: &Process, wanted: impl Fn(Stream) -> bool) -> Vec<Stream> {
    let has = |stream| match stream {
        Stream::Stdin => process.stdin,
        Stream::Stdout => true,
        Stream::Stderr => process.terminal.is_none(),
    };
    let mut streams = vec![Stream::Stdout, Stream::Stderr, Stream::Stdin];
    streams.retain(|stream| has(*stream) && wanted(*stream));
    streams
}

/// The streams, each a connection of its own.
#[derive(Debug, Default)]
struct Streams {
    stdin: Option<UnixStream>,
    stdout: Option<UnixStream>,
    stderr: Option<UnixStream>,
}

impl Streams {
    fn put(&mut self, stream: Stream, connection: UnixStream) {
        match stream {
            Stream::Stdin => self.stdin = Some(connection),
            Stream::Stdout => self.stdout = Some(connection),
            Stream::Stderr => self.stderr = Some(connection),
        }
    }
}

/// Attaches, starts, and stays to the end. The exit code.
pub fn run(
    mut supervised: Supervised,
    attachment: &Attachment,
    signals: &Signals,
) -> Result<u8, SessionError> {
    let (id, session) = (supervised.id.clone(), names::new_id().map_err(SessionError::Random)?);
    let streams = attach(&supervised.client, &id, &session, attachment)?;
    let wait = WaitArgs { container: id.clone(), until: attachment.until, session: Some(session) };
    let waiting = supervised.begin(Some(wait))?;
    converse(&supervised.client, &id, streams, waiting, attachment, signals)
}

/// Attaches to a container that runs, and stays to its end.
pub fn join(
    client: &Client,
    id: &str,
    attachment: &Attachment,
    signals: &Signals,
) -> Result<u8, SessionError> {
    let session = names::new_id().map_err(SessionError::Random)?;
    let streams = attach(client, id, &session, attachment)?;
    let waiting = client.wait_begin(id, attachment.until, Some(session))?;
    if attachment.terminal {
        // A size that changes makes a full-screen program draw itself for its new viewer.
        let size = terminal::size(&io::stdout());
        let _ = client.done(&Call::Resize(ResizeArgs { container: id.to_string(), size }));
    }
    converse(client, id, streams, waiting, attachment, signals)
}

/// Runs one more process in a container that runs, and stays to its end.
pub fn exec(
    client: &Client,
    spec: ExecSpec,
    attachment: &Attachment,
    signals: &Signals,
) -> Result<u8, SessionError> {
    let id = spec.exec_id.clone();
    let (connections, waiting) = client.exec(spec, &attachment.streams)?;
    let mut streams = Streams::default();
    for (stream, connection) in attachment.streams.iter().zip(connections) {
        streams.put(*stream, connection);
    }
    converse(client, &id, streams, waiting, attachment, signals)
}

fn attach(client: &Client, id: &str, session: &str, attachment: &Attachment) -> Result<Streams, ClientError> {
    let mut streams = Streams::default();
    for stream in attachment.streams.iter().copied() {
        let (container, session) = (id.to_string(), session.to_string());
        let args = AttachArgs { container, stream, session, live: attachment.live };
        streams.put(stream, client.attach(args)?);
    }
    Ok(streams)
}

/// What ends a conversation.
enum End {
    Exited(Result<Exit, ClientError>),
    /// By the keys.
    Detached,
}

/// Copies the streams and passes signals on until the container has ended and its output is out.
fn converse(
    client: &Client,
    id: &str,
    streams: Streams,
    waiting: UnixStream,
    attachment: &Attachment,
    signals: &Signals,
) -> Result<u8, SessionError> {
    let raw = if attachment.terminal && streams.stdin.is_some() { RawMode::enter() } else { None };
    let (told, end) = UnixStream::pair().map_err(SessionError::Thread)?;
    let (sender, ends) = mpsc::channel();
    if let Some(stdin) = streams.stdin {
        let keys = raw.as_ref().map(|_| attachment.detach_keys.to_vec()).unwrap_or_default();
        let (sender, told) = (sender.clone(), told.try_clone().map_err(SessionError::Thread)?);
        spawn("stdin", move || {
            if copy::stdin(stdin, &keys) == copy::Left::Detached {
                let _ = sender.send(End::Detached);
                let _ = told.shutdown(std::net::Shutdown::Both);
            }
        })?;
    }
    let mut outputs = Vec::new();
    for (stream, connection) in [(Stream::Stdout, streams.stdout), (Stream::Stderr, streams.stderr)] {
        let Some(connection) = connection else { continue };
        let closing = attachment.live.then(|| (client.another(), id.to_string()));
        outputs.push(spawn("output", move || output(stream, connection, closing))?);
    }
    spawn("wait", move || {
        let exit = exited(&waiting);
        for output in outputs.into_iter().filter(|_| exit.is_ok()) {
            let _ = output.join();
        }
        let _ = sender.send(End::Exited(exit));
        let _ = told.shutdown(std::net::Shutdown::Both);
    })?;
    pass_signals(client, id, attachment.terminal, signals, end.as_fd())?;
    drop(raw);
    // Whoever closed `told` has sent before.
    match ends.recv() {
        Ok(End::Exited(exit)) => code(exit?),
        Ok(End::Detached) | Err(_) => Ok(0),
    }
}

fn code(exit: Exit) -> Result<u8, SessionError> {
    if !exit.error.is_empty() {
        return Err(SessionError::Died(exit.error));
    }
    if exit.oom_killed {
        eprintln!("hull: the container met its memory limit (-m) and the kernel killed a process of it");
    }
    Ok(u8::try_from(exit.code).unwrap_or(FAILED))
}

/// When our own reader has gone, the container's next write meets a closed pipe, as if it had written to
/// that itself.
fn output(stream: Stream, connection: UnixStream, closing: Option<(Client, String)>) {
    let whole = match stream {
        Stream::Stderr => copy::output(connection, io::stderr()),
        Stream::Stdin | Stream::Stdout => copy::output(connection, io::stdout()),
    };
    if let (Err(error), Some((client, container))) = (whole, closing) {
        if error.kind() != io::ErrorKind::BrokenPipe {
            eprintln!("hull: {}", escape(&format!("Failed to write the container's output: {error}")));
        }
        let _ = client.done(&Call::CloseOutput(OutputArgs { container, stream }));
    }
}

/// Until `end` closes.
fn pass_signals(
    client: &Client,
    id: &str,
    terminal: bool,
    signals: &Signals,
    end: BorrowedFd,
) -> Result<(), SessionError> {
    let mut messenger = None;
    let mut impatience = 0;
    loop {
        let [signalled, ended] = ready([signals.0.as_fd(), end])?;
        while let Some(signal) = signalled.then(|| signals.next()).flatten() {
            impatience += u32::from(matches!(signal, Signal::SIGINT | Signal::SIGTERM));
            if impatience >= PATIENCE {
                return Err(SessionError::Left);
            }
            let Some(call) = call(id, signal, terminal) else { continue };
            let messenger = match &messenger {
                Some(messenger) => messenger,
                None => messenger.insert(start_messenger(client.another())?),
            };
            let _ = messenger.send(call);
        }
        if ended {
            return Ok(());
        }
    }
}

/// Waits until one of the descriptors is readable or closed, and tells which are.
fn ready<const N: usize>(fds: [BorrowedFd; N]) -> Result<[bool; N], SessionError> {
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
fn call(id: &str, signal: Signal, terminal: bool) -> Option<Call> {
    let container = id.to_string();
    match signal {
        Signal::SIGWINCH if !terminal => None,
        Signal::SIGWINCH => Some(Call::Resize(ResizeArgs { container, size: terminal::size(&io::stdout()) })),
        signal => {
            let signal = u8::try_from(signal as i32).ok()?;
            Some(Call::Signal(SignalArgs { container, signal }))
        }
    }
}

/// Carries signals and sizes over, one after the other, apart from the thread that waits: a guest that
/// does not answer must not keep the user from leaving. A container that has just ended refuses.
fn start_messenger(client: Client) -> Result<Sender<Call>, SessionError> {
    let (sender, receiver) = mpsc::channel::<Call>();
    spawn("signals", move || receiver.iter().for_each(|call| drop(client.done(&call))))?;
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
