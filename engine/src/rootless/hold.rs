//! `hull hold`: the processes that namespaces live by.

use std::ffi::OsString;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use super::lock::{NamespaceFile, say};
use super::network;
use crate::sandbox::FIRST_FD;

/// Word of the command line; nobody types it.
pub const COMMAND: &str = "hold";
pub const USER: &str = "user";
pub const NETWORK: &str = "network";

/// Holds a namespace until nobody is in it. Handed are the namespace's file and a socket that is told, with
/// a byte, that it is there.
pub fn main(mut words: impl Iterator<Item = OsString>) -> Result<(), String> {
    let word = words.next().unwrap_or_default();
    let usage = || format!("{COMMAND} is for hull itself, which hands descriptors over; see hull run --help");
    let (file, starter) = (take(0).ok_or_else(usage)?, take(1).ok_or_else(usage)?);
    let file = NamespaceFile::from((PathBuf::from(&word), file));
    match word.to_str() {
        Some(USER) => {
            file.hold().map_err(|error| format!("Failed to lock the namespace's file: {error}"))?;
            say(starter.as_fd());
            drop(starter);
            file.wait_for_nobody().map_err(|error| format!("Failed to wait: {error}"))
        }
        Some(NETWORK) => {
            let user = take(2).ok_or_else(usage)?;
            network::hold(file, starter, user).map_err(|error| crate::supervisor::chain(&error))
        }
        _ => Err(usage()),
    }
}

/// A close-on-exec copy of what was handed over, which is closed.
fn take(number: RawFd) -> Option<OwnedFd> {
    let fd = FIRST_FD + number;
    // SAFETY: fcntl(2) with F_SETFD only changes a flag of an open descriptor, and fails for others.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return None;
    }
    // SAFETY: it is open, was handed to this process at its start, and is taken here only, once.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}
