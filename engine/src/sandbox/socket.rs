//! Unix sockets at paths of any length, read until a point in time.
//!
//! `sun_path` holds 107 bytes (unix(7)), and a run folder may lie deeper than that. The folder is
//! opened and the socket addressed through `/proc/self/fd/N/<name>`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn short(path: &Path) -> io::Result<(File, PathBuf)> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let dir = File::open(dir)?;
    let short = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    Ok((dir, short))
}

pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let (_dir, short) = short(path)?;
    UnixListener::bind(short)
}

pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let (_dir, short) = short(path)?;
    UnixStream::connect(short)
}

/// Reads from a connection until a point in time, if there is one.
pub(super) struct Timed<'a> {
    pub stream: &'a UnixStream,
    pub end: Option<Instant>,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(end) = self.end {
            self.stream.set_read_timeout(Some(left(end)?))?;
        }
        let mut stream = self.stream;
        stream.read(buffer)
    }
}

/// The time until then. None left is an error: as a socket's timeout zero means for ever.
pub(super) fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}
