//! `hull run`: a new container, started, and in the foreground its streams until its end.

use hull_guest::protocol::{ErrorKind, Stream};

use super::create::{self, Asked, CreateError, Creating};
use super::start::{self, StartError, Supervised};
use crate::context::Context;
use crate::sandbox::sweep;
use crate::session::{self, Attachment, SessionError, Signals};
use crate::store::{self, Store};
use crate::text::escape;

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("Failed to write the container's id to {}", path.display())]
    IdFile { path: std::path::PathBuf, source: std::io::Error },
    #[error("The container's id file {} exists; remove it, or name another", .0.display())]
    IdFileExists(std::path::PathBuf),
}

impl RunError {
    /// Docker's codes: 127 not found, 126 cannot be executed, 125 all else that is not the command's.
    pub fn exit_code(&self) -> u8 {
        let kind = match self {
            RunError::Start(StartError::Client(error)) => error.kind(),
            RunError::Session(SessionError::Client(error)) => error.kind(),
            _ => None,
        };
        match kind {
            Some(ErrorKind::CommandNotFound) => 127,
            Some(ErrorKind::CannotExecute) => 126,
            _ => 125,
        }
    }
}

/// How `hull run` goes on once the container is there.
#[derive(Debug)]
pub struct Manner {
    pub detached: bool,
    /// What of the container's streams comes here; none: all that it has.
    pub attach: Vec<Stream>,
    pub sig_proxy: bool,
    pub detach_keys: Vec<u8>,
    pub cid_file: Option<std::path::PathBuf>,
}

/// Runs the container and answers with the exit code.
pub fn run(context: &Context, asked: Asked, manner: &Manner) -> Result<u8, RunError> {
    let signals = if manner.detached { None } else { Some(Signals::block(manner.sig_proxy)?) };
    if let Some(path) = manner.cid_file.as_ref().filter(|path| path.exists()) {
        return Err(RunError::IdFileExists(path.clone()));
    }
    let store = Store::open(&context.root, &context.run)?;
    sweep::dead(context, &store);
    let mut new = create::plan(context, &store, asked)?;
    for warning in &new.warnings {
        eprintln!("hull: warning: {}", escape(warning));
    }
    let (_, supervised) = start::new(context, &store, &mut new)?;
    write_id(manner.cid_file.as_deref(), &new.id)?;
    match signals {
        None => start_detached(supervised),
        Some(signals) => {
            let wanted = |stream| manner.attach.is_empty() || manner.attach.contains(&stream);
            let attachment = Attachment::of(&new.config, wanted, true, &manner.detach_keys);
            Ok(session::run(supervised, &attachment, &signals)?)
        }
    }
}

/// `hull create`: the id.
pub fn create(
    context: &Context,
    asked: Asked,
    cid_file: Option<&std::path::Path>,
) -> Result<String, RunError> {
    if let Some(path) = cid_file.filter(|path| path.exists()) {
        return Err(RunError::IdFileExists(path.to_path_buf()));
    }
    let store = Store::open(&context.root, &context.run)?;
    sweep::dead(context, &store);
    let mut new = create::plan(context, &store, asked)?;
    for warning in &new.warnings {
        eprintln!("hull: warning: {}", escape(warning));
    }
    let _creating = Creating::begin(&store)?;
    let (row, _) = create::add(&store, &mut new, false)?;
    write_id(cid_file, &row.id)?;
    Ok(row.id)
}

fn start_detached(mut supervised: Supervised) -> Result<u8, RunError> {
    let started = supervised.start().map_err(StartError::from);
    // As docker: there is a container of this id, whether its command runs or not.
    println!("{}", supervised.id);
    started?;
    Ok(0)
}

pub fn write_id(path: Option<&std::path::Path>, id: &str) -> Result<(), RunError> {
    use std::io::Write;
    let Some(path) = path else { return Ok(()) };
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    written
        .and_then(|mut file| file.write_all(id.as_bytes()))
        .map_err(|source| RunError::IdFile { path: path.to_path_buf(), source })
}
