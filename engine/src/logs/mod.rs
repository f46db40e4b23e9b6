//! What containers print, kept as docker's json-file log driver keeps it.
//!
//! A container's log is `<id>-json.log`, the live file, and `<id>-json.log.1`, `.2`, ... behind it, older
//! and older. One line is one JSON object: `{"log":"text\n","stream":"stdout","time":"..."}`, with
//! `"attrs":{...}` before the time if the container has any. A line of more than 16 KiB comes in parts,
//! of which only the last ends in a newline.
//!
//! One process writes ([`Writer`]); any number of others read ([`Reader`]) without a lock between them:
//! files are only appended to and renamed, and a reader tells files by inode, not by name.

mod attrs;
mod config;
mod decode;
mod encode;
mod files;
mod follow;
mod lines;
mod partial;
mod print;
mod reader;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use attrs::Attrs;
pub use config::{ConfigError, Driver, LogConfig};
pub use decode::Entry;
pub use partial::Partial;
pub use print::Printer;
pub use reader::{Item, Note, Options, Reader};
pub use writer::Writer;

/// Which of a container's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("Failed to {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "The labels and variables for the log (--log-opt labels, env) are {bytes} bytes long; at most {} fit in a line",
        attrs::MAX_BYTES
    )]
    Attrs { bytes: usize },
    #[error("Failed to watch {} for new lines", path.display())]
    Watch { path: PathBuf, source: io::Error },
    /// inotify_init(2), EMFILE.
    #[error(
        "Failed to follow the log: too many logs are followed, or descriptors open (the sysctl fs.inotify.max_user_instances is the limit a user)"
    )]
    TooManyFollowers,
    #[error(
        "Failed to read the log: it is rotated faster than it can be opened; --log-opt max-size is too small for it"
    )]
    Overtaken,
}

impl LogError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

/// Where the log of container `id` in folder `dir` is written to.
pub fn live_path(dir: &Path, id: &str) -> PathBuf {
    dir.join(files::live_name(id))
}

/// The longest JSON line a reader takes. The writer's are shorter: 16 KiB of text are at most 96 KiB when
/// escaped, and attrs are bounded.
const MAX_LINE: usize = 1 << 20;
