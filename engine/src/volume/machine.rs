//! What a virtual machine cannot have of the host's. Looked at when a container is made, and again at each start: by
//! then something else may be there.

use std::fs::FileType;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use hull_guest::protocol::Propagation;

use super::{MountPoint, parse};

#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    #[error(
        "{} is a {kind}, which a virtual machine cannot share with the host: use --isolation namespace, or mount \
         something else",
        .path.display()
    )]
    Special { path: PathBuf, kind: &'static str },
    #[error(
        "Mounts at {target} cannot be shared with the host's: a virtual machine's mounts are its own. Leave out \
         {word}, or use --isolation namespace"
    )]
    Propagates { target: String, word: &'static str },
}

/// Folders and regular files are all that can be shared.
pub fn check_kind(path: &Path, kind: FileType) -> Result<(), MachineError> {
    let kind = match kind {
        kind if kind.is_socket() => "socket",
        kind if kind.is_block_device() || kind.is_char_device() => "device",
        kind if kind.is_fifo() => "named pipe",
        _ => return Ok(()),
    };
    Err(MachineError::Special { path: path.to_path_buf(), kind })
}

pub fn check_propagation(point: &MountPoint) -> Result<(), MachineError> {
    if point.propagation == Propagation::Private {
        return Ok(());
    }
    let word = parse::propagation_word(point.propagation);
    Err(MachineError::Propagates { target: point.target.clone(), word })
}
