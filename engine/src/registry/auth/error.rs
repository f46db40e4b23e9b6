//! What can go wrong with logins.

use std::io;
use std::path::PathBuf;

use crate::registry;
use crate::store::Kind;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What servers and helpers said is escaped where the error is made. No password or token is in any of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Failed to {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not the JSON that docker writes", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{} has a mistake: {what}", path.display())]
    Config { path: PathBuf, what: String },
    #[error(
        "There is no place for docker's config.json: HOME is not set and /etc/passwd has no home of uid {0} (--config names a folder)"
    )]
    NoHome(u32),
    #[error("Failed to run {program}, which docker's config.json names for logins")]
    Helper { program: String, source: io::Error },
    #[error("{program} {action} {problem}")]
    HelperAnswer { program: String, action: &'static str, problem: String },
    #[error("{registry} sends for tokens to \"{realm}\", {problem}")]
    Realm { registry: String, realm: String, problem: &'static str },
    #[error("{server} gave no token for {registry}: {problem}")]
    Token { server: String, registry: String, problem: String },
    #[error("{registry} refused: unauthorized{}; hull login {registry} stores another login", detail(said))]
    Unauthorized { registry: String, said: String },
    #[error("{0} wants a login (hull login {0})")]
    LoginNeeded(String),
    #[error("{0} asks for a kind of login that hull does not know")]
    UnknownChallenge(String),
    #[error("Failed to log in to {registry}: unauthorized: incorrect username or password")]
    Incorrect { registry: String },
    #[error("Failed to log in to {registry}: {url} answered {status}{}", detail(said))]
    Ping { registry: String, url: String, status: u16, said: String },
    #[error("{0} is no registry, which is named by host[:port]")]
    Server(String),
    #[error(transparent)]
    Registry(#[from] Box<registry::Error>),
}

fn detail(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" ({said})") }
}

impl Error {
    pub(super) fn file(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { what, path: path.to_owned(), source }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Helper { .. } | Self::HelperAnswer { .. } | Self::Token { .. } => {
                Kind::Io
            }
            Self::Registry(error) => error.kind(),
            _ => Kind::Invalid,
        }
    }
}
