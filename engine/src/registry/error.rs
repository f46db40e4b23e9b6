//! What can go wrong with registries.

use std::io;
use std::time::Duration;

use super::connect_error;
use super::tls::TlsError;
use crate::image::Digest;
use crate::store::Kind;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a registry said is escaped where the error is made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Failed to reach {url}")]
    Request {
        url: String,
        source: Box<dyn std::error::Error + Send + Sync>,
        /// The same may work in a moment: the connection broke, or nothing came for too long.
        transient: bool,
    },
    #[error("{url} answered {status}{}", detail(.said))]
    Status { url: String, status: u16, said: String, retry_after: Option<Duration> },
    #[error("{0} does not exist, or is shown only to those who log in (hull login)")]
    NotFound(String),
    #[error("{url} answered with more than {limit} bytes, which is more than a document may have")]
    TooLarge { url: String, limit: u64 },
    #[error("{url} answered with a document whose digest is {found} instead of {expected}")]
    Digest { url: String, expected: Digest, found: Digest },
    #[error("{url} answered with {found} bytes of a blob that has {expected}")]
    Size { url: String, expected: u64, found: u64 },
    #[error("{url} answered with more than the {expected} bytes that the blob has")]
    Longer { url: String, expected: u64 },
    #[error("{url} answered with something that is no {what}")]
    Malformed { url: String, what: &'static str },
    #[error(
        "{0} has a manifest of the old schema 1, which hull does not read; push the image again with a newer tool"
    )]
    Schema1(String),
    #[error("{0} is no URL of a registry, such as https://mirror.example:5000")]
    Url(String),
    #[error("{0} offers no search, and no catalog of its repositories")]
    NoSearch(String),
    #[error(transparent)]
    Auth(#[from] super::auth::Error),
    #[error("{url} leads to {to}, {why}")]
    Lead { url: String, to: String, why: &'static str },
    #[error("Failed to use the certificates set for {registry}")]
    Tls { registry: String, source: Box<TlsError> },
    #[error("Failed to read the file to upload")]
    File(#[source] io::Error),
}

/// How a blob's connection can break without an error of its own.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum Broken {
    #[error("the blob ended before its size")]
    Ended,
    #[error("the blob came too slowly")]
    Trickles,
}

fn detail(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl Error {
    /// A request that ended without an answer.
    pub fn failed(url: &str, source: ureq::Error) -> Self {
        let transient = connect_error::is_transient(&source);
        Self::Request { url: url.to_owned(), source: connect_error::in_words(source), transient }
    }

    pub fn broken(url: &str, how: Broken) -> Self {
        Self::Request { url: url.to_owned(), source: how.into(), transient: true }
    }

    /// Whether the same request may succeed in a moment.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Request { transient, .. } => *transient,
            Self::Auth(super::auth::Error::Registry(error)) => error.is_transient(),
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// How long the registry wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Auth(super::auth::Error::Registry(error)) => error.retry_after(),
            _ => None,
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) => Kind::NotFound,
            Self::Auth(error) => error.kind(),
            Self::Request { .. } | Self::Status { .. } | Self::File(_) => Kind::Io,
            _ => Kind::Invalid,
        }
    }
}
