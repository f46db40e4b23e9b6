//! A blob as a reader, over as many connections as it takes.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::BodyReader;
use ureq::http::{HeaderMap, Method, StatusCode, header};

use super::endpoint::Endpoint;
use super::error::{Broken, Error, Result};
use super::http::{Answer, Patience, Request, shown};
use super::limits::Limits;
use super::retry::Schedule;
use crate::image::Digest;

const SKIP: usize = 64 << 10;

/// Gives exactly `size` bytes, or an error. What breaks is taken up where it broke; what an endpoint does
/// not have, or not whole, the next one is asked for.
pub struct BlobReader {
    endpoints: Arc<[Endpoint]>,
    digest: Digest,
    size: u64,
    /// Bytes given so far.
    at: u64,
    source: Option<Source>,
    /// The endpoint that is read from.
    endpoint: usize,
    schedule: Schedule,
    /// Where the blob was when the schedule began.
    mark: u64,
}

impl BlobReader {
    /// Asks for the blob, so that it is known whether it is there.
    pub fn open(endpoints: Arc<[Endpoint]>, digest: Digest, size: u64) -> Result<Self> {
        let endpoint = endpoints.iter().position(|endpoint| !endpoint.is_down());
        let endpoint = endpoint.unwrap_or(endpoints.len().saturating_sub(1));
        let limits = endpoints.get(endpoint).ok_or_else(|| Error::Url(String::new()))?.limits.clone();
        let schedule = Schedule::new(limits);
        let mut reader = Self { endpoints, digest, size, at: 0, source: None, endpoint, schedule, mark: 0 };
        reader.connect()?;
        Ok(reader)
    }

    fn connect(&mut self) -> Result<()> {
        loop {
            let Some(endpoint) = self.endpoints.get(self.endpoint) else { return Ok(()) };
            match self.ask(endpoint) {
                Ok(source) => {
                    self.source = Some(source);
                    return Ok(());
                }
                Err(error) => self.get_over(error)?,
            }
        }
    }

    /// Waits for the next try, or goes on to the next endpoint; where there is neither, it was that.
    fn get_over(&mut self, error: Error) -> Result<()> {
        self.source = None;
        if self.at - self.mark >= self.schedule.limits().progress {
            self.mark = self.at;
            self.schedule = Schedule::new(Arc::clone(self.schedule.limits()));
        }
        // A registry that was there a moment ago may be restarting.
        let may_pass = error.is_transient() || (self.at > 0 && matches!(error, Error::Request { .. }));
        if may_pass && self.schedule.wait(error.retry_after()) {
            return Ok(());
        }
        let Some(next) = self.endpoints.get(self.endpoint + 1) else { return Err(error) };
        self.endpoint += 1;
        self.mark = self.at;
        self.schedule = Schedule::new(Arc::clone(&next.limits));
        Ok(())
    }

    /// The bytes from `at` on.
    fn ask(&self, endpoint: &Endpoint) -> Result<Source> {
        let mut request = Request::new(Method::GET);
        request.patience = Patience::Stream { size: self.size };
        if self.at > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.at));
        }
        let answer = endpoint.try_once(&format!("/blobs/{}", self.digest), &request);
        let answer = answer.map_err(|error| self.out_of_range(error))?;
        let url = shown(&answer.url);
        let begins = match answer.response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if self.is_the_rest(answer.response.headers()) => self.at,
            _ => return Err(Error::Malformed { url, what: "answer to the question for a blob" }),
        };
        let said = answer.response.body().content_length().map(|length| length.saturating_add(begins));
        match said {
            Some(said) if said != self.size => Err(Error::Size { url, expected: self.size, found: said }),
            _ => Source::new(url, answer, endpoint).skip(self.at - begins),
        }
    }

    /// 416: there are no more bytes than we have, though there should be.
    fn out_of_range(&self, error: Error) -> Error {
        match error {
            Error::Status { url, status: 416, .. } => {
                Error::Size { url, expected: self.size, found: self.at }
            }
            other => other,
        }
    }

    /// `Content-Range: bytes 10-99/100` (RFC 9110, 14.4).
    fn is_the_rest(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let range = value.and_then(|value| value.trim().strip_prefix("bytes ")?.split_once('/'));
        let Some((range, total)) = range else { return false };
        let Some((first, last)) = range.split_once('-') else { return false };
        self.at > 0
            && first.parse() == Ok(self.at)
            && last.parse() == Ok(self.size - 1)
            && (total == "*" || total.parse() == Ok(self.size))
    }

    /// All bytes are there; more would be another blob. Whatever else happens now does not matter, and of
    /// chunks nothing is read any more: there is no telling how much may follow without being a byte.
    fn finish(&mut self) -> Result<()> {
        let Some(mut source) = self.source.take().filter(|source| !source.is_chunked) else { return Ok(()) };
        match source.body.read(&mut [0]) {
            Ok(more) if more > 0 => Err(Error::Longer { url: source.url, expected: self.size }),
            _ => Ok(()),
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at < self.size && !buffer.is_empty() {
            let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX).min(buffer.len());
            let Some(source) = &mut self.source else {
                self.connect().map_err(io::Error::other)?;
                continue;
            };
            match source.read(buffer.get_mut(..left).unwrap_or_default()) {
                Ok(read) => {
                    self.at += u64::try_from(read).unwrap_or(0);
                    return Ok(read);
                }
                Err(error) => self.get_over(error).map_err(io::Error::other)?,
            }
        }
        if self.at == self.size {
            self.finish().map_err(io::Error::other)?;
        }
        Ok(0)
    }
}

/// One answer's body.
struct Source {
    body: BodyReader<'static>,
    url: String,
    limits: Arc<Limits>,
    is_chunked: bool,
    /// Bytes of this window, and the time that was waited for them.
    came: u64,
    waited: Duration,
}

impl Source {
    fn new(url: String, answer: Answer, endpoint: &Endpoint) -> Self {
        let is_chunked = answer.response.headers().contains_key(header::TRANSFER_ENCODING);
        let body = answer.response.into_body().into_reader();
        let limits = Arc::clone(&endpoint.limits);
        Self { body, url, limits, is_chunked, came: 0, waited: Duration::ZERO }
    }

    /// At least one byte, or an error: the end is one, too.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let begun = Instant::now();
        let read = self.body.read(buffer).map_err(|error| Error::failed(&self.url, error.into()))?;
        if read == 0 {
            return Err(Error::broken(&self.url, Broken::Ended));
        }
        self.came += u64::try_from(read).unwrap_or(0);
        self.waited += begun.elapsed();
        let (least, window) = self.limits.pace;
        if self.waited >= window {
            if self.came < least {
                return Err(Error::broken(&self.url, Broken::Trickles));
            }
            (self.came, self.waited) = (0, Duration::ZERO);
        }
        Ok(read)
    }

    /// Reads over what is there already, where a server does not know ranges.
    fn skip(mut self, mut count: u64) -> Result<Self> {
        let mut scratch = vec![0; if count == 0 { 0 } else { SKIP }];
        while count > 0 {
            let most = usize::try_from(count).unwrap_or(SKIP).min(SKIP);
            let read = self.read(scratch.get_mut(..most).unwrap_or_default())?;
            count -= u64::try_from(read).unwrap_or(0);
        }
        Ok(self)
    }
}
