//! HTTP over a unix socket: ureq's, with a transport of our own.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::TimeVal;
use serde_json::Value;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error};

/// Docker's name for the protocol's version.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";
/// Of an answer: what lists some ten thousand volumes.
const MAX_BODY: u64 = 4 << 20;
const MAX_HEADERS: usize = 64 << 10;

/// A plugin's. Each call has a connection of its own.
pub struct Socket(PathBuf);

pub struct Answer {
    pub status: u16,
    pub is_success: bool,
    pub body: Vec<u8>,
}

impl Socket {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `limit` is for all of it, the answer's last byte included.
    pub fn post(&self, call: &str, body: &Value, limit: Duration) -> Result<Answer, Error> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEADERS)
            .max_idle_connections(0)
            .timeout_global(Some(limit))
            .user_agent(concat!("hull/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = Agent::with_parts(config, ToSocket(self.0.clone()), Nowhere);
        let request = agent.post(format!("http://plugin/{call}"));
        let request = request.header("Accept", MEDIA_TYPE).header("Content-Type", MEDIA_TYPE);
        let mut response = request.send(body.to_string().as_bytes())?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(MAX_BODY).read_to_vec()?;
        Ok(Answer { status: status.as_u16(), is_success: status.is_success(), body })
    }
}

/// The host of the URL is no host.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(([0, 0, 0, 0], 0).into());
        Ok(addresses)
    }
}

#[derive(Debug)]
struct ToSocket(PathBuf);

impl Connector for ToSocket {
    type Out = UnixTransport;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<UnixTransport>, Error> {
        let (input, output) = (details.config.input_buffer_size(), details.config.output_buffer_size());
        let stream = connect(&self.0, left(details.timeout))?;
        Ok(Some(UnixTransport { stream, buffers: LazyBuffers::new(input, output) }))
    }
}

/// A server that accepts nobody has connect(2) wait, as long as a send would (unix(7), socket(7)).
fn connect(path: &Path, limit: Option<Duration>) -> io::Result<UnixStream> {
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    if let Some(limit) = limit {
        let seconds = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
        let limit = TimeVal::new(seconds, limit.subsec_micros().into());
        socket::setsockopt(&socket, sockopt::SendTimeout, &limit)?;
    }
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(socket))
}

struct UnixTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(left(timeout))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output).map_err(|error| explained(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(left(timeout))?;
        loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(explained(error, timeout)),
            }
        }
    }

    /// It is not used again.
    fn is_open(&mut self) -> bool {
        false
    }
}

/// None: for ever. A timeout of zero would be that, too.
fn left(timeout: NextTimeout) -> Option<Duration> {
    timeout.not_zero().map(|left| *left)
}

fn explained(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

impl fmt::Debug for UnixTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixTransport").finish_non_exhaustive()
    }
}
