//! Bytes between the caller's own streams and the container's.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::detach::{Keys, Scan};

const CHUNK: usize = 32 * 1024;

/// Why nothing more of stdin is copied.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    AtEnd,
    Detached,
}

/// The caller's stdin to the container. Its end is passed on; a container that stopped reading ends it.
/// The detach keys, where there are any, are swallowed.
pub fn stdin(mut to: UnixStream, keys: &[u8]) -> Left {
    let mut buffer = [0u8; CHUNK];
    let mut keys = Keys::new(keys);
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => {
                let mut passed = Vec::new();
                let scan = keys.scan(buffer.get(..len).unwrap_or_default(), &mut passed);
                if to.write_all(&passed).is_err() {
                    break;
                }
                if scan == Scan::Detach {
                    return Left::Detached;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    // It stays open to the end: closed, it would say that nobody is there any more.
    let _ = io::copy(&mut to, &mut io::sink());
    Left::AtEnd
}

/// The container's output to the caller, to its end. An error is the caller's side's.
pub fn output(mut from: UnixStream, mut to: impl Write) -> io::Result<()> {
    let mut buffer = [0u8; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => {
                to.write_all(buffer.get(..len).unwrap_or_default())?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(()),
        }
    }
}
