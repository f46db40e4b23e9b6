//! HTTP as registries speak it: one request at a time, with redirects followed by hand.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ureq::http::{self, HeaderMap, Method, Response, StatusCode, Uri, header};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, TcpConnector};
use ureq::{Agent, Body, Proxy, SendBody};

use super::connect::TlsConnector;
use super::error::{Error, Result};
use super::limits::Limits;
use super::proxy::Proxies;
use super::reach::{Reach, ReachForUreq};
use super::retry;
use super::said::said;
use super::tls::Trust;
use super::url::join;
use crate::text::escape;

/// Of an error's text.
pub const MAX_SAID: u64 = 8 << 10;
/// Of what is read of a redirect's text, to use the connection again.
const MAX_DRAINED: u64 = 4 << 10;

/// A request that can be sent more than once.
#[derive(Clone)]
pub struct Request<'r> {
    pub method: Method,
    pub headers: Vec<(header::HeaderName, String)>,
    pub payload: Payload<'r>,
    pub patience: Patience,
}

#[derive(Clone, Copy)]
pub enum Payload<'r> {
    None,
    Bytes(&'r [u8]),
    /// From its beginning; `progress` hears of the bytes sent so far.
    File {
        file: &'r File,
        size: u64,
        progress: &'r (dyn Fn(u64) + Sync),
    },
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// All of a document, by [`Limits::document`].
    Document,
    /// As long as bytes keep coming, within [`Limits::connection`]: a blob of so many bytes.
    Stream { size: u64 },
    /// The server first works on what it was sent, up to [`Limits::commit`].
    Commit,
}

impl Request<'_> {
    pub fn new(method: Method) -> Self {
        Self { method, headers: Vec::new(), payload: Payload::None, patience: Patience::Document }
    }

    pub fn header(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What came back, from where the last redirect led.
#[derive(Debug)]
pub struct Answer {
    pub url: Uri,
    pub response: Response<Body>,
    /// It is the registry itself that answers.
    pub is_own: bool,
}

/// Connections to one registry and to whatever it leads to.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    reach: Arc<Reach>,
    proxies: Proxies,
    limits: Arc<Limits>,
}

impl Client {
    /// `plain`: the registry may be one without TLS.
    pub fn new(reach: Reach, trust: Trust, plain: bool, proxies: Proxies, limits: Arc<Limits>) -> Self {
        let reach = Arc::new(reach);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(limits.headers)
            .timeout_resolve(Some(limits.resolve))
            .timeout_connect(Some(limits.connect))
            .timeout_recv_response(Some(limits.silence))
            .timeout_per_read(Some(limits.silence))
            .timeout_per_write(Some(limits.silence))
            .user_agent(concat!("hull/", env!("CARGO_PKG_VERSION")))
            .build();
        let others = trust.for_others();
        let handshake = plain.then_some(limits.handshake);
        let tls = TlsConnector { reach: Arc::clone(&reach), own: trust, others, handshake };
        let connector = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default()).chain(tls);
        let agent = Agent::with_parts(config, connector, ReachForUreq(Arc::clone(&reach)));
        Self { agent, reach, proxies, limits }
    }

    /// Whether a URL is the registry's itself.
    pub fn is_own(&self, url: &Uri) -> bool {
        self.reach.is_own(url)
    }

    /// Goes where an answer leads. `authorization` goes to the registry alone.
    pub fn follow(
        &self,
        url: &Uri,
        request: &Request<'_>,
        authorization: Option<&str>,
        first: Response<Body>,
    ) -> Result<Answer> {
        let (mut url, mut response) = (url.clone(), first);
        for followed in 0.. {
            let Some(to) = redirect(&url, request, &response)? else {
                let is_own = self.reach.is_own(&url);
                return Ok(Answer { url, response, is_own });
            };
            if followed == self.limits.redirects {
                break;
            }
            drain(response);
            url = to;
            response = self
                .send_once(&url, request, authorization.filter(|_| self.reach.is_own(&url)))
                .map_err(|error| Error::failed(&shown(&url), error))?;
        }
        let why = "after more redirects than hull follows";
        Err(Error::Lead { url: shown(&url), to: "yet another place".to_owned(), why })
    }

    /// One request, and its answer whatever it is.
    pub fn send_once(
        &self,
        url: &Uri,
        request: &Request<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, ureq::Error> {
        let proxy = self.proxies.of(url).map_err(|error| ureq::Error::Other(error.into()))?;
        if proxy.is_some() {
            self.reach.check_literal(url).map_err(|error| ureq::Error::Other(error.into()))?;
        }
        match request.payload {
            Payload::None => self.run(url, request, authorization, proxy, SendBody::none()),
            Payload::Bytes(mut bytes) => {
                let length = bytes.len();
                let body = SendBody::from_reader(&mut bytes);
                self.run(url, &with_length(request, length), authorization, proxy, body)
            }
            Payload::File { file, size, progress } => {
                let mut reader = SentFile { file, at: 0, progress }.take(size);
                let body = SendBody::from_reader(&mut reader);
                self.run(url, &with_length(request, size), authorization, proxy, body)
            }
        }
    }

    fn run(
        &self,
        url: &Uri,
        request: &Request<'_>,
        authorization: Option<&str>,
        proxy: Option<&Proxy>,
        body: SendBody<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut built = http::Request::builder().method(&request.method).uri(url);
        for (name, value) in &request.headers {
            built = built.header(name, value);
        }
        if let Some(value) = authorization {
            built = built.header(header::AUTHORIZATION, value);
        }
        let built = built.body(body)?;
        let mut config = self.agent.configure_request(built).proxy(proxy.cloned());
        match request.patience {
            Patience::Document => config = config.timeout_recv_body(Some(self.limits.document)),
            Patience::Stream { size } => config = config.timeout_recv_body(Some(self.limits.of_blob(size))),
            Patience::Commit => {
                let commit = Some(self.limits.commit);
                config = config.timeout_recv_response(commit).timeout_per_read(commit);
            }
        }
        self.agent.run(config.build())
    }
}

fn with_length<'r>(request: &Request<'r>, length: impl ToString) -> Request<'r> {
    request.clone().header(header::CONTENT_LENGTH, length.to_string())
}

/// Reads a file that others may read at the same time.
struct SentFile<'f> {
    file: &'f File,
    at: u64,
    progress: &'f (dyn Fn(u64) + Sync),
}

impl Read for SentFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.progress)(self.at);
        let read = self.file.read_at(buffer, self.at)?;
        self.at += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }
}

/// Where the answer leads, if it does. Only what a request may be repeated for is followed: reading, and
/// the redirects that keep method and body (RFC 9110, 15.4).
fn redirect(url: &Uri, request: &Request<'_>, response: &Response<Body>) -> Result<Option<Uri>> {
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let follows = match response.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => reads,
        _ => false,
    };
    match location(response.headers()) {
        Some(location) if follows => leads_to(url, location).map(Some),
        _ => Ok(None),
    }
}

pub fn location(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::LOCATION)?.to_str().ok()
}

/// The URL that a registry names, as long as it is http, and https where the registry is. Which addresses
/// it may have is seen when it is connected to.
pub fn leads_to(url: &Uri, location: &str) -> Result<Uri> {
    let refused = |why| Error::Lead { url: shown(url), to: escape(location).to_string(), why };
    let to = join(url, location).ok_or_else(|| refused("which is no URL"))?;
    match (url.scheme_str(), to.scheme_str()) {
        (Some("https"), Some("http")) => Err(refused("which is not https any more")),
        (_, Some("http" | "https")) => Ok(to),
        _ => Err(refused("which is not a URL of https or http")),
    }
}

/// A URL in messages: without the query, in which signatures may be.
pub fn shown(url: &Uri) -> String {
    let text = url.to_string();
    escape(text.split('?').next().unwrap_or_default()).to_string()
}

/// Leaves the connection for the next request, if that takes no reading of much.
fn drain(response: Response<Body>) {
    if response.body().content_length().is_some_and(|length| length <= MAX_DRAINED) {
        let _ = io::copy(&mut response.into_body().into_reader().take(MAX_DRAINED + 1), &mut io::sink());
    }
}

/// The response if it is a success; else what the registry said.
pub fn accepted(url: &str, mut response: Response<Body>) -> Result<Response<Body>> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = retry_after(response.headers());
    let body = response.body_mut().with_config().limit(MAX_SAID).read_to_vec();
    if status == StatusCode::NOT_FOUND {
        return Err(Error::NotFound(url.to_owned()));
    }
    let said = said(&body.unwrap_or_default());
    Err(Error::Status { url: url.to_owned(), status: status.as_u16(), said, retry_after })
}

pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let wanted = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    retry::retry_after(wanted, SystemTime::now())
}

impl Answer {
    /// The answer if it is a success; else what the registry said.
    pub fn accepted(self) -> Result<Self> {
        let response = accepted(&shown(&self.url), self.response)?;
        Ok(Self { response, ..self })
    }

    /// The whole body, which may have so many bytes.
    pub fn document(&mut self, limit: u64) -> Result<Vec<u8>> {
        self.response.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(limit) => Error::TooLarge { url: shown(&self.url), limit },
            other => Error::failed(&shown(&self.url), other),
        })
    }
}
