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

/// Waits until nobody listens at `path` any more. False: somebody still does after that time.
pub fn wait_until_closed(path: &Path, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        let connection = match connect(path) {
            Ok(connection) => connection,
            Err(error) => {
                return matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
            }
        };
        // It is closed by who listens, at the latest at its end, and has nothing to say before.
        match Read::read(&mut Timed { stream: &connection, end: Some(end) }, &mut [0; 64]) {
            Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                return false;
            }
            Ok(_) | Err(_) => {}
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_closed_when_nobody_listens_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(wait_until_closed(&path, Duration::ZERO), "nobody ever listened");
        let listener = listen(&path).unwrap();
        assert!(!wait_until_closed(&path, Duration::from_millis(50)));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait_until_closed(&path, Duration::from_secs(60)));
            // Whoever is connected is in its queue, and is closed with it.
            drop(listener);
            assert!(waiting.join().unwrap());
        });
    }
}
