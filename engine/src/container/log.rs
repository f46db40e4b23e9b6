//! What a container leaves to be read: its log, and the console of the guest it ran in.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::config::{Config, UnreadableConfig};
use super::life;
use super::start;
use crate::logs::{Driver, Reader};
use crate::pod;
use crate::sandbox::mode::Isolation;
use crate::store::{self, ContainerRow, Kind, Store};
use crate::supervisor::client::ClientError;
use crate::supervisor::control::Until;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Config(#[from] UnreadableConfig),
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Docker's words.
    #[error("configured logging driver does not support reading")]
    NotKept,
    #[error("{0} runs in host namespaces: there is no guest with a console")]
    NoGuest(String),
    #[error(
        "The console of {0} is not kept; boot_log = true in the config file keeps that of what is made afterwards"
    )]
    NoConsole(String),
    #[error("{0} has not been started, so its guest has no console yet")]
    NotStarted(String),
    #[error("Failed to open the console's log {}", path.display())]
    Open { path: PathBuf, source: io::Error },
}

/// A container's log, to be read.
pub fn open(store: &Store, row: &ContainerRow) -> Result<Reader, LogError> {
    match Config::from_row(row)?.log.driver {
        Driver::JsonFile => Ok(Reader::new(&store.paths().container(&row.id), &row.id)),
        Driver::None => Err(LogError::NotKept),
    }
}

/// Readable, or closed, once nothing more will come into a container's log: it has ended, is at rest, and
/// all it wrote is in the log; or its supervisor was killed. None: that is so already.
pub fn end(store: &Store, row: &ContainerRow) -> Result<Option<UnixStream>, LogError> {
    if !life::is_up(row) {
        return Ok(None);
    }
    match start::client(store, row).wait_begin(&row.id, Until::NotRunning, None) {
        Ok(waiting) => Ok(Some(waiting)),
        // It has ended meanwhile, and its supervisor with it.
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The console of the guest that a container or a pod runs in, or ran in last.
pub fn console(store: &Store, name: &str) -> Result<File, LogError> {
    let (sandbox, mode, kept) = match store.db().container(name) {
        Ok(row) => match &row.pod {
            Some(pod) => pod_console(store, pod)?,
            None => (row.id.clone(), row.mode, Config::from_row(&row)?.boot_log),
        },
        Err(error) if error.kind() == Kind::NotFound => match pod_console(store, name) {
            Err(LogError::Store(nothing)) if nothing.kind() == Kind::NotFound => return Err(error.into()),
            found => found?,
        },
        Err(error) => return Err(error.into()),
    };
    let shown = || name.to_string();
    if mode != Isolation::Vm {
        return Err(LogError::NoGuest(shown()));
    }
    if !kept {
        return Err(LogError::NoConsole(shown()));
    }
    let path = store.paths().sandbox(&sandbox).join("boot.log");
    File::open(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => LogError::NotStarted(shown()),
        _ => LogError::Open { path, source },
    })
}

fn pod_console(store: &Store, name: &str) -> Result<(String, Isolation, bool), LogError> {
    let row = store.db().pod(name)?;
    let config = pod::Config::from_row(&row)?;
    Ok((row.id, row.mode, config.boot_log))
}
