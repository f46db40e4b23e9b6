//! What a registry may make us wait for and keep.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Limits of one client. Tests shorten them.
#[derive(Clone)]
pub struct Limits {
    /// Finding a host's addresses.
    pub resolve: Duration,
    /// TCP and TLS, or a proxy, until a request can be sent.
    pub connect: Duration,
    /// The TLS handshake where the host may also be one that only speaks http and waits for a line.
    pub handshake: Duration,
    /// No byte comes or can be sent.
    pub silence: Duration,
    /// A whole document, from its first byte.
    pub document: Duration,
    /// A server's work on what it was sent, before it answers.
    pub commit: Duration,
    /// A response's headers, in bytes; their number is capped at 128 by ureq.
    pub headers: usize,
    pub redirects: usize,
    /// Of one request.
    pub tries: u32,
    /// Before the second try; each wait is twice the one before.
    pub first_wait: Duration,
    /// Of one wait, also where `Retry-After` asks for more.
    pub longest_wait: Duration,
    /// From the first failure of a request to its last try.
    pub total: Duration,
    /// A blob that brings fewer bytes in so much time of waiting for it is taken for a broken connection.
    pub pace: (u64, Duration),
    /// One connection may bring a blob for so long, or as long as it takes at so many bytes a second if
    /// that is longer; what is not there by then is asked for again. It ends what looks like an answer
    /// and brings nothing, such as trailers of chunks without end.
    pub connection: (Duration, u64),
    /// Bytes after which a blob's connection may break as often again.
    pub progress: u64,
    pub sleep: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(20),
            connect: Duration::from_secs(30),
            handshake: Duration::from_secs(2),
            silence: Duration::from_secs(60),
            document: Duration::from_secs(120),
            commit: Duration::from_secs(600),
            headers: 64 << 10,
            redirects: 10,
            tries: 5,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            total: Duration::from_secs(180),
            pace: (64 << 10, Duration::from_secs(60)),
            connection: (Duration::from_secs(600), 16 << 10),
            progress: 1 << 20,
            sleep: Arc::new(std::thread::sleep),
        }
    }
}

impl Limits {
    /// How long one connection may bring a blob.
    pub fn of_blob(&self, size: u64) -> Duration {
        let (least, rate) = self.connection;
        Duration::from_secs(size / rate.max(1)).max(least)
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("tries", &self.tries).finish_non_exhaustive()
    }
}
