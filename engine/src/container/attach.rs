//! `hull attach`: what a foreground `hull run` is, in another terminal and later.

use hull_guest::protocol::Stream;

use super::config::{Config, UnreadableConfig};
use super::reach::{self, Reached};
use super::start;
use crate::context::Context;
use crate::session::{self, Attachment, SessionError, Signals};
use crate::store::{self, ContainerRow, ContainerState, Store};
use crate::supervisor::client::ClientError;
use crate::terminal;

#[derive(Debug)]
pub struct Asked {
    pub stdin: bool,
    pub sig_proxy: bool,
    pub detach_keys: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Config(#[from] UnreadableConfig),
    #[error("You cannot attach to a stopped container, start it first")]
    Stopped,
    #[error("You cannot attach to a paused container, unpause it first")]
    Paused,
    #[error("You cannot attach to a restarting container, wait until it is running")]
    Restarting,
    #[error("The container has a terminal, and stdin is none; without one, use --no-stdin")]
    NoTerminal,
}

impl Reached for AttachError {
    fn client(&self) -> Option<&ClientError> {
        match self {
            AttachError::Session(SessionError::Client(error)) => Some(error),
            _ => None,
        }
    }
}

/// Stays to the container's end, or until the keys are typed. The exit code.
pub fn attach(context: &Context, name: &str, asked: &Asked) -> Result<u8, AttachError> {
    let store = Store::open(&context.root, &context.run)?;
    reach::container(context, &store, name, |row| attempt(&store, row, asked))
}

fn attempt(store: &Store, row: &ContainerRow, asked: &Asked) -> Result<u8, AttachError> {
    match row.state {
        ContainerState::Running => {}
        ContainerState::Paused => return Err(AttachError::Paused),
        ContainerState::Restarting => return Err(AttachError::Restarting),
        ContainerState::Created
        | ContainerState::Removing
        | ContainerState::Exited
        | ContainerState::Dead => return Err(AttachError::Stopped),
    }
    let config = Config::from_row(row)?;
    let wanted = |stream| stream != Stream::Stdin || asked.stdin;
    let attachment = Attachment::of(&config, wanted, false, &asked.detach_keys);
    let stdin = attachment.streams.contains(&Stream::Stdin);
    if attachment.terminal && stdin && !terminal::is_terminal(&std::io::stdin()) {
        return Err(AttachError::NoTerminal);
    }
    // What is typed on a terminal reaches the container as it is.
    let signals = Signals::block(asked.sig_proxy && !attachment.terminal)?;
    Ok(session::join(&start::client(store, row), &row.id, &attachment, &signals)?)
}
