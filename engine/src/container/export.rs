//! `hull export`: a container's file system as a tar archive, read by the agent inside its sandbox. One that
//! does not run gets its sandbox for that long, and nothing of it is run.

use std::io::{self, Read, Write};

use hull_guest::protocol::DataReader;

use super::reach::{self, Reached};
use super::start::{self, StartError};
use crate::context::Context;
use crate::sandbox::sweep;
use crate::store::{self, ContainerState, Store};
use crate::supervisor::client::ClientError;

const BUFFER: usize = 256 << 10;

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("Container {0} is restarting, wait until the container is running")]
    Restarting(String),
    #[error("Container {0} is being removed")]
    Removing(String),
    #[error("Failed to read the container's files")]
    Read(#[source] io::Error),
    #[error("Failed to write the archive")]
    Write(#[source] io::Error),
}

impl Reached for ExportError {
    fn client(&self) -> Option<&ClientError> {
        match self {
            ExportError::Client(error) | ExportError::Start(StartError::Client(error)) => Some(error),
            _ => None,
        }
    }
}

/// Writes the archive to `out`.
pub fn export(context: &Context, store: &Store, name: &str, out: &mut dyn Write) -> Result<(), ExportError> {
    let (archive, held) = reach::container(context, store, name, |row| match row.state {
        ContainerState::Running | ContainerState::Paused => {
            // Its sandbox does not live by this connection.
            Ok((start::client(store, row).export(&row.id)?.0, None))
        }
        ContainerState::Created | ContainerState::Exited => {
            // What a killed supervisor left would be in the way.
            if row.sandbox.is_some() {
                sweep::dead(context, store);
            }
            let mut supervised = start::existing(context, store, row)?;
            let (archive, connection) = supervised.client.export_prepared(&row.id)?;
            Ok((archive, Some(connection)))
        }
        ContainerState::Restarting => Err(ExportError::Restarting(row.name.clone())),
        ContainerState::Removing | ContainerState::Dead => Err(ExportError::Removing(row.name.clone())),
    })?;
    // With it goes the connection to the agent, which otherwise would still wait to send.
    let copied = copy(DataReader::new(archive), out);
    if let Some(mut connection) = held {
        // Whoever starts the container next need not wait for this one's sandbox.
        let _ = connection.shutdown(std::net::Shutdown::Write);
        let _ = io::copy(&mut connection, &mut io::sink());
    }
    copied
}

fn copy(mut archive: impl Read, out: &mut dyn Write) -> Result<(), ExportError> {
    let mut chunk = vec![0; BUFFER];
    loop {
        match archive.read(&mut chunk) {
            Ok(0) => return out.flush().map_err(ExportError::Write),
            Ok(n) => out.write_all(chunk.get(..n).unwrap_or_default()).map_err(ExportError::Write)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ExportError::Read(error)),
        }
    }
}
