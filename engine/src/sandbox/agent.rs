//! The host's side of the agent protocol: one connection a call.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hull_guest::protocol::{
    AttachArgs, CallError, ContainerArgs, ContainerSpec, Created, ExecSpec, ExitStatus, FrameError,
    HelloArgs, HelloReply, Outcome, Reply, Request, Stream, VERSION, read_frame, write_frame,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::socket::{self, Timed};

/// The longest any call may take that does not wait for the container itself. None comes near it; it
/// bounds what a broken or hostile guest can do.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Characters of a refusal that are shown. The agent's own are shorter.
const MESSAGE: usize = 2000;

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("Failed to connect to the agent at {}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("The agent closed the connection")]
    Closed,
    #[error("The sandbox's agent did not answer in time")]
    Timeout,
    #[error("Failed to talk to the agent")]
    Frame(#[source] FrameError),
    #[error("{0}")]
    Refused(CallError),
    #[error("The agent answered {0} with something else")]
    Unexpected(&'static str),
    #[error(
        "The agent speaks version {theirs} of the protocol, this hull {VERSION}; install both from one release"
    )]
    Version { theirs: u32 },
}

impl AgentError {
    /// Whether it has ended, or its machine.
    pub fn is_gone(&self) -> bool {
        match self {
            AgentError::Connect { source, .. } => {
                matches!(source.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
            }
            AgentError::Closed => true,
            _ => false,
        }
    }
}

impl From<FrameError> for AgentError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Io(io)
                if matches!(
                    io.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                AgentError::Closed
            }
            FrameError::Io(io)
                if matches!(io.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                AgentError::Timeout
            }
            other => AgentError::Frame(other),
        }
    }
}

/// How to reach an agent.
#[derive(Debug, Clone)]
pub enum Address {
    /// The agent's own listening socket.
    Host(PathBuf),
    /// The VMM's socket, which connects to that vsock port in the guest.
    Vsock { socket: PathBuf, port: u32 },
}

#[derive(Debug, Clone)]
pub struct Agent {
    address: Address,
}

impl Agent {
    pub fn new(address: Address) -> Agent {
        Agent { address }
    }

    /// A connection that has sent its request. In a VM the request travels
    /// behind the CONNECT line, without waiting for the answer to that: one round trip less a call.
    fn send(&self, request: &Request, limit: Option<Duration>) -> Result<UnixStream, AgentError> {
        let (path, greeting) = match &self.address {
            Address::Host(path) => (path, None),
            Address::Vsock { socket, port } => (socket, Some(format!("CONNECT {port}\n"))),
        };
        let mut stream =
            socket::connect(path).map_err(|source| AgentError::Connect { path: path.clone(), source })?;
        let mut bytes = greeting.unwrap_or_default().into_bytes();
        write_frame(&mut bytes, request)?;
        stream.set_write_timeout(limit).map_err(FrameError::Io)?;
        stream.write_all(&bytes).map_err(FrameError::Io)?;
        Ok(stream)
    }

    /// The answer, waited for no longer than the limit in all: neither a guest that is stuck nor one that
    /// sends a byte a minute may hold the caller.
    fn receive(&self, stream: &UnixStream, limit: Option<Duration>) -> Result<Outcome, AgentError> {
        let mut timed = Timed { stream, end: limit.map(|limit| Instant::now() + limit) };
        self.expect_connected(&mut timed)?;
        read_reply(&mut timed)
    }

    /// Reads what the VMM says of the connection itself, if one is between.
    fn expect_connected(&self, timed: &mut Timed) -> Result<(), AgentError> {
        match self.address {
            Address::Host(_) => Ok(()),
            Address::Vsock { .. } => expect_ok_line(timed),
        }
    }

    /// Any call whose answer comes at once.
    pub fn call(&self, request: &Request, limit: Duration) -> Result<Outcome, AgentError> {
        self.receive(&self.send(request, Some(limit))?, Some(limit))
    }

    /// The first call. `limit` bounds the guest's whole boot; `watch`, the socket the sandbox lives by,
    /// ends the wait early when it becomes readable.
    pub fn hello(&self, watch: &UnixStream, limit: Duration) -> Result<HelloReply, AgentError> {
        let stream = self.send(&Request::Hello(HelloArgs { version: VERSION }), Some(limit))?;
        wait_readable(&stream, watch, limit)?;
        match self.receive(&stream, Some(LIMIT))? {
            Outcome::Hello(reply) if reply.version == VERSION => Ok(reply),
            Outcome::Hello(reply) => Err(AgentError::Version { theirs: reply.version }),
            _ => Err(AgentError::Unexpected("hello")),
        }
    }

    /// One of the container's streams, as a connection of its own.
    pub fn attach(&self, container: &str, stream: Stream) -> Result<UnixStream, AgentError> {
        self.stream(&Request::Attach(AttachArgs { container: container.to_string(), stream }), "attach")
    }

    fn stream(&self, request: &Request, what: &'static str) -> Result<UnixStream, AgentError> {
        let connection = self.send(request, Some(LIMIT))?;
        match self.receive(&connection, Some(LIMIT))? {
            // From here on it is the container's, and silence is its right.
            Outcome::Done => {
                connection
                    .set_write_timeout(None)
                    .and_then(|()| connection.set_read_timeout(None))
                    .map_err(FrameError::Io)?;
                Ok(connection)
            }
            _ => Err(AgentError::Unexpected(what)),
        }
    }

    /// The container's files as a tar archive: data as [`hull_guest::protocol::DataReader`] reads them.
    pub fn archive(&self, container: &str) -> Result<UnixStream, AgentError> {
        let request = Request::Archive(ContainerArgs { container: container.to_string() });
        self.stream(&request, "archive")
    }

    /// The questions for names that the sandbox's containers ask, and what answers them
    /// ([`hull_guest::protocol::DnsQuestion`]).
    pub fn names(&self) -> Result<UnixStream, AgentError> {
        self.stream(&Request::Dns, "dns")
    }

    /// Asks for the container's end; [`Agent::wait_reply`] reads the answer when the connection is
    /// readable.
    pub fn wait_begin(&self, container: &str) -> Result<UnixStream, AgentError> {
        let request = Request::Wait(ContainerArgs { container: container.to_string() });
        let stream = self.send(&request, None)?;
        // What is readable from here on is the end: who waits for it must not meet half an answer.
        self.expect_connected(&mut Timed { stream: &stream, end: Some(Instant::now() + LIMIT) })?;
        stream.set_read_timeout(None).map_err(FrameError::Io)?;
        Ok(stream)
    }

    pub fn wait_reply(&self, stream: &UnixStream) -> Result<ExitStatus, AgentError> {
        self.wait_reply_until(stream, None)
    }

    pub fn wait_reply_until(
        &self,
        stream: &UnixStream,
        end: Option<Instant>,
    ) -> Result<ExitStatus, AgentError> {
        match read_reply(&mut Timed { stream, end })? {
            Outcome::Exited(status) => Ok(status),
            _ => Err(AgentError::Unexpected("wait")),
        }
    }

    pub fn create(&self, spec: ContainerSpec, limit: Duration) -> Result<Created, AgentError> {
        match self.call(&Request::CreateContainer(Box::new(spec)), limit)? {
            Outcome::Created(created) => Ok(created),
            _ => Err(AgentError::Unexpected("create")),
        }
    }

    pub fn exec(&self, spec: ExecSpec) -> Result<Created, AgentError> {
        match self.call(&Request::Exec(Box::new(spec)), LIMIT)? {
            Outcome::Created(created) => Ok(created),
            _ => Err(AgentError::Unexpected("exec")),
        }
    }

    /// A question whose answer somebody else understands.
    pub fn ask(&self, request: &Request) -> Result<Outcome, AgentError> {
        self.call(request, LIMIT)
    }

    /// A call that is answered with nothing but success.
    pub fn done(&self, request: &Request) -> Result<(), AgentError> {
        self.done_within(request, LIMIT)
    }

    pub fn done_within(&self, request: &Request, limit: Duration) -> Result<(), AgentError> {
        match self.call(request, limit)? {
            Outcome::Done => Ok(()),
            _ => Err(AgentError::Unexpected("a call")),
        }
    }
}

fn read_reply(timed: &mut Timed) -> Result<Outcome, AgentError> {
    match read_frame::<Reply>(timed)? {
        Reply::Ok(outcome) => Ok(outcome),
        Reply::Error(mut error) => {
            error.message = error.message.chars().take(MESSAGE).collect();
            Err(AgentError::Refused(error))
        }
    }
}

/// Reads the VMM's `OK <port>` line, byte by byte since a frame follows directly.
fn expect_ok_line(stream: &mut Timed) -> Result<(), AgentError> {
    /// "OK 4294967295\n"
    const LONGEST: u64 = 14;
    let mut line = Vec::with_capacity(16);
    let mut input = BufReader::with_capacity(1, io::Read::take(&mut *stream, LONGEST));
    input.read_until(b'\n', &mut line).map_err(FrameError::Io)?;
    match line.as_slice() {
        [] => Err(AgentError::Closed),
        line if line.starts_with(b"OK ") && line.ends_with(b"\n") => Ok(()),
        _ => Err(AgentError::Unexpected("connect")),
    }
}

fn wait_readable(stream: &UnixStream, watch: &UnixStream, limit: Duration) -> Result<(), AgentError> {
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let [stream, watch] = [stream, watch].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
    let mut fds = [stream, watch];
    let polled = poll(&mut fds, timeout);
    let [stream, _] = fds;
    match polled {
        Ok(0) => Err(AgentError::Timeout),
        Ok(_) if stream.any().unwrap_or(true) => Ok(()),
        Ok(_) => Err(AgentError::Closed),
        Err(errno) => Err(AgentError::Frame(FrameError::Io(errno.into()))),
    }
}

/// Where an agent's or VMM's socket lies in a sandbox's run folder.
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("agent.sock")
}
