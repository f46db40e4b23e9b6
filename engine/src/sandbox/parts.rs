//! hull's own files that a sandbox runs, opened once: an upgrade on disk never mixes releases inside a
//! sandbox that lives through it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use super::mode::Isolation;
use super::tree;
use crate::paths;

#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    #[error(transparent)]
    Missing(#[from] paths::NotFound),
    #[error("Failed to {what} {}", path.display())]
    File { what: &'static str, path: std::path::PathBuf, source: io::Error },
}

/// What a mode needs.
#[derive(Debug)]
pub enum Parts {
    Vm {
        vmm: File,
        init: File,
        kernel: File,
        /// Only a machine that shares the host's files has a server of them.
        fs: Option<File>,
    },
    Namespace {
        init: OwnedFd,
    },
}

impl Parts {
    pub fn open(mode: Isolation, kernel: Option<&Path>, shares: bool) -> Result<Parts, PartsError> {
        let init = paths::part("hull-init")?;
        match mode {
            Isolation::Vm => Ok(Parts::Vm {
                vmm: open(&paths::part("hull-vmm")?)?,
                init: open(&init)?,
                kernel: match kernel {
                    Some(path) => open(path)?,
                    None => open(&paths::part("vmlinux")?)?,
                },
                fs: if shares { Some(open(&paths::part("hull-fs")?)?) } else { None },
            }),
            Isolation::Namespace => Ok(Parts::Namespace { init: read_only(&init)? }),
        }
    }
}

/// A file whole, whoever has read from this descriptor before.
pub(super) fn whole(file: &File) -> io::Result<Vec<u8>> {
    let mut file = file;
    let mut content = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// A descriptor of its own to hand over.
pub(super) fn copy(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}

fn open(path: &Path) -> Result<File, PartsError> {
    File::open(path).map_err(|source| PartsError::File { what: "open", path: path.to_path_buf(), source })
}

/// hull-init, on a mount of its own that is read-only and in nobody's tree: a container that opens the
/// agent's `/proc/PID/exe` for writing meets that mount, and not the file every sandbox starts from.
fn read_only(path: &Path) -> Result<OwnedFd, PartsError> {
    let what = "make a read-only mount of";
    let made = tree::copy(path, false).and_then(|tree| tree::confine(&tree, true, false).map(|()| tree));
    made.map_err(|source| PartsError::File { what, path: path.to_path_buf(), source })
}
