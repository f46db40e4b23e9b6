//! The other end of the control socket.

use std::io::{self, IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use hull_guest::protocol::{
    CallError, ContainerArgs, ErrorKind, ExecSpec, FrameError, HelloArgs, Outcome, ProcessInfo, Stream,
    decode_len, read_frame, write_frame,
};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::control::{
    Answer, AttachArgs, Call, ExecArgs, Exit, Hello, Measured, Reply, Until, VERSION, WaitArgs,
};
use crate::sandbox::socket;

/// What a call may take whose answer does not wait for a container.
const LIMIT: Duration = Duration::from_secs(150);
/// What a supervisor may take to say that it is there.
const HELLO_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("Failed to reach the supervisor at {}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    /// It was killed, or has ended with its container.
    #[error("The supervisor closed the connection (killed?)")]
    Closed,
    #[error("The supervisor did not answer in time")]
    Timeout,
    #[error("Failed to talk to the supervisor")]
    Frame(#[source] FrameError),
    #[error("{0}{hint}", hint = other_release(.0.kind))]
    Refused(CallError),
    #[error("The supervisor answered with something else; it may be of another release of hull")]
    Unexpected,
}

/// A call or a field that a supervisor does not know is a newer one than it is.
fn other_release(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid | ErrorKind::Version => "; the supervisor may be of another release of hull",
        _ => "",
    }
}

impl ClientError {
    /// The refusal's kind, if that is what this is.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            ClientError::Refused(error) => Some(error.kind),
            _ => None,
        }
    }

    /// Whether there is no supervisor (any more).
    pub fn is_gone(&self) -> bool {
        matches!(self, ClientError::Closed | ClientError::Connect { .. })
    }
}

impl From<FrameError> for ClientError {
    fn from(error: FrameError) -> ClientError {
        let kind = match &error {
            FrameError::Io(error) => Some(error.kind()),
            _ => None,
        };
        match kind {
            Some(
                io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset,
            ) => ClientError::Closed,
            Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => ClientError::Timeout,
            None if matches!(error, FrameError::Json(_)) => ClientError::Unexpected,
            _ => ClientError::Frame(error),
        }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> ClientError {
        FrameError::Io(error).into()
    }
}

/// A supervisor, as its clients know it.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    /// The connection of who started it, until that has called.
    starter: Option<UnixStream>,
}

impl Client {
    pub fn new(path: PathBuf, starter: Option<UnixStream>) -> Client {
        Client { path, starter }
    }

    /// Another handle, for another thread.
    pub fn another(&self) -> Client {
        Client::new(self.path.clone(), None)
    }

    fn connect(&self) -> Result<UnixStream, ClientError> {
        socket::connect(&self.path).map_err(|source| ClientError::Connect { path: self.path.clone(), source })
    }

    /// A connection that has sent its call.
    fn send(&self, call: &Call) -> Result<UnixStream, ClientError> {
        let mut stream = self.connect()?;
        write_frame(&mut stream, call)?;
        Ok(stream)
    }

    pub fn call(&self, call: &Call) -> Result<Answer, ClientError> {
        let stream = self.send(call)?;
        stream.set_read_timeout(Some(LIMIT))?;
        receive(&stream)
    }

    pub fn done(&self, call: &Call) -> Result<(), ClientError> {
        done(self.call(call)?)
    }

    /// A call that is answered when the container does what it does in its own time.
    pub fn done_whenever(&self, call: &Call) -> Result<(), ClientError> {
        done(receive(&self.send(call)?)?)
    }

    /// Who is there. Asked by who has others to look after, too.
    pub fn hello(&self) -> Result<Hello, ClientError> {
        let stream = self.send(&Call::Hello(HelloArgs { version: VERSION }))?;
        stream.set_read_timeout(Some(HELLO_LIMIT))?;
        match receive(&stream)? {
            Answer::Hello(hello) => Ok(hello),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// A wish whose answer nobody waits for, as far as there is anybody to have it.
    pub fn tell(&self, call: &Call) {
        drop(self.send(call));
    }

    /// A question that the agent answers.
    fn agent(&self, call: &Call) -> Result<Outcome, ClientError> {
        match self.call(call)? {
            Answer::Agent(outcome) => Ok(outcome),
            _ => Err(ClientError::Unexpected),
        }
    }

    pub fn stats(&self, container: &str) -> Result<Measured, ClientError> {
        match self.call(&Call::Stats(ContainerArgs { container: container.to_string() }))? {
            Answer::Measured(measured) => Ok(*measured),
            _ => Err(ClientError::Unexpected),
        }
    }

    pub fn processes(&self, container: &str) -> Result<Vec<ProcessInfo>, ClientError> {
        match self.agent(&Call::Top(ContainerArgs { container: container.to_string() }))? {
            Outcome::Processes(processes) => Ok(processes),
            _ => Err(ClientError::Unexpected),
        }
    }

    /// The first call of whoever started the supervisor, or any other's of the same kind. The connection,
    /// for a second answer.
    pub fn start(&mut self, call: &Call) -> Result<UnixStream, ClientError> {
        let mut stream = match self.starter.take() {
            Some(starter) => starter,
            None => self.connect()?,
        };
        write_frame(&mut stream, call)?;
        done(receive(&stream)?)?;
        Ok(stream)
    }

    /// A call that the container's start follows on the same connection.
    pub fn add(&mut self, call: &Call) -> Result<(), ClientError> {
        self.starter = Some(self.start(call)?);
        Ok(())
    }

    /// One of the container's streams, as a connection of its own.
    pub fn attach(&self, args: AttachArgs) -> Result<UnixStream, ClientError> {
        let stream = self.send(&Call::Attach(args))?;
        stream.set_read_timeout(Some(LIMIT))?;
        done(receive(&stream)?)?;
        stream.set_read_timeout(None)?;
        Ok(stream)
    }

    /// Runs a process in a container: its streams, in the order asked for, and the connection that [`exited`]
    /// reads its end from.
    pub fn exec(
        &self,
        spec: ExecSpec,
        streams: &[Stream],
    ) -> Result<(Vec<UnixStream>, UnixStream), ClientError> {
        let args = ExecArgs { spec, streams: streams.to_vec() };
        let connection = self.send(&Call::Exec(Box::new(args)))?;
        let handed = receive_handed(&connection)?;
        if handed.len() != streams.len() {
            return Err(ClientError::Unexpected);
        }
        Ok((handed, connection))
    }

    /// The files of a container that runs, and the connection that they were asked for on.
    pub fn export(&self, container: &str) -> Result<(UnixStream, UnixStream), ClientError> {
        let call = Call::Export(ContainerArgs { container: container.to_string() });
        handed_one(self.send(&call)?)
    }

    /// The same of one whose supervisor was just started, or that was just added, as its only call: the
    /// sandbox is there as long as the connection.
    pub fn export_prepared(&mut self, container: &str) -> Result<(UnixStream, UnixStream), ClientError> {
        let call = Call::Export(ContainerArgs { container: container.to_string() });
        match self.starter.take() {
            Some(mut starter) => {
                write_frame(&mut starter, &call)?;
                handed_one(starter)
            }
            None => handed_one(self.send(&call)?),
        }
    }

    /// A call that is answered twice: that it is under way, and by [`exited`], when the connection is
    /// readable, how it ended.
    fn begin(&self, call: &Call) -> Result<UnixStream, ClientError> {
        let stream = self.send(call)?;
        done(receive(&stream)?)?;
        Ok(stream)
    }

    pub fn wait_begin(
        &self,
        container: &str,
        until: Until,
        session: Option<String>,
    ) -> Result<UnixStream, ClientError> {
        self.begin(&Call::Wait(WaitArgs { container: container.to_string(), until, session }))
    }

    /// Waits until the supervisor has ended, whatever it answers before.
    pub fn wait_for_end(&self, call: &Call) {
        let Ok(mut stream) = self.send(call) else { return };
        let _ = io::copy(&mut stream, &mut io::sink());
    }
}

/// The answer to a wait.
pub fn exited(stream: &UnixStream) -> Result<Exit, ClientError> {
    match receive(stream)? {
        Answer::Exited(exit) => Ok(exit),
        _ => Err(ClientError::Unexpected),
    }
}

fn receive(stream: &UnixStream) -> Result<Answer, ClientError> {
    let mut stream = stream;
    read_frame::<Reply>(&mut stream)?.map_err(ClientError::Refused)
}

fn done(answer: Answer) -> Result<(), ClientError> {
    match answer {
        Answer::Done => Ok(()),
        _ => Err(ClientError::Unexpected),
    }
}

/// An answer with descriptors, which are streams.
fn receive_handed(connection: &UnixStream) -> Result<Vec<UnixStream>, ClientError> {
    connection.set_read_timeout(Some(LIMIT))?;
    let (header, handed) = receive_descriptors(connection)?;
    let mut body = vec![0; decode_len(header)?];
    let mut rest = connection;
    rest.read_exact(&mut body)?;
    let reply: Reply = serde_json::from_slice(&body).map_err(FrameError::Json)?;
    done(reply.map_err(ClientError::Refused)?)?;
    connection.set_read_timeout(None)?;
    Ok(handed.into_iter().map(UnixStream::from).collect())
}

/// The one stream that is handed over, and the connection.
fn handed_one(connection: UnixStream) -> Result<(UnixStream, UnixStream), ClientError> {
    let mut handed = receive_handed(&connection)?;
    match (handed.pop(), handed.pop()) {
        (Some(stream), None) => Ok((stream, connection)),
        _ => Err(ClientError::Unexpected),
    }
}

/// A frame's header, and the descriptors that came with it.
fn receive_descriptors(stream: &UnixStream) -> Result<([u8; 4], Vec<OwnedFd>), ClientError> {
    let mut header = [0; 4];
    // One a stream.
    let mut space = nix::cmsg_space!([RawFd; 3]);
    let (received, handed) = {
        let mut bytes = [IoSliceMut::new(&mut header)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_WAITALL;
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut bytes, Some(&mut space), flags)
            .map_err(io::Error::from)?;
        let mut handed = Vec::new();
        for control in message.cmsgs().map_err(io::Error::from)? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                // SAFETY: the kernel has just made these descriptors for this process; nobody else knows
                // of them.
                handed.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        (message.bytes, handed)
    };
    if received < header.len() {
        return Err(ClientError::Closed);
    }
    Ok((header, handed))
}
