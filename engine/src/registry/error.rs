//! What can go wrong with registries.

use crate::image::Digest;
use crate::store::Kind;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a registry said is escaped where the error is made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Failed to reach {url}")]
    Request { url: String, source: Box<ureq::Error> },
    #[error("{url} answered {status}{}", detail(.said))]
    Status { url: String, status: u16, said: String },
    #[error("{0} was not found there")]
    NotFound(String),
    #[error("{url} answered with more than {limit} bytes, which is more than a document may have")]
    TooLarge { url: String, limit: u64 },
    #[error("{url} answered with a document whose digest is {found} instead of {expected}")]
    Digest { url: String, expected: Digest, found: Digest },
    #[error("{url} answered with something that is no {what}")]
    Malformed { url: String, what: &'static str },
    #[error("{0} is no URL of a registry, such as https://mirror.example:5000")]
    Url(String),
    #[error("{0} offers no search, and no catalog of its repositories")]
    NoSearch(String),
    #[error(transparent)]
    Auth(#[from] super::auth::Error),
}

fn detail(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl Error {
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) => Kind::NotFound,
            Self::Request { .. } | Self::Status { .. } => Kind::Io,
            Self::Auth(error) => error.kind(),
            _ => Kind::Invalid,
        }
    }
}
