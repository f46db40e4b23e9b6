//! An archive as a folder.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::super::error::{Error, Result};
use super::Members;

/// A folder whose files are opened by name, and never outside of it: names come from its manifest.
pub struct Folder {
    folder: File,
    path: PathBuf,
}

impl Folder {
    pub fn new(folder: File, path: &Path) -> Self {
        Self { folder, path: path.to_owned() }
    }
}

impl Members for Folder {
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send + '_>>> {
        let how = OpenHow::new()
            // A fifo must not block.
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let failed = |source: io::Error| Error::io("open", self.path.join(name), source);
        match openat2(&self.folder, Path::new(name), how) {
            Ok(fd) => {
                let file = File::from(fd);
                if !file.metadata().map_err(failed)?.is_file() {
                    return Err(failed(io::Error::other("not a regular file")));
                }
                Ok(Some(Box::new(file)))
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(failed(errno.into())),
        }
    }
}
