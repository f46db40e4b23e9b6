//! Paths below a folder that somebody else writes to.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// openat2(2) gives up where folders are renamed while it looks.
const MAX_TRIES: usize = 64;

/// What is at `path`, which nothing on the way leads out of; EXDEV where it would. Open with O_PATH.
pub fn open(folder: impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        tries += 1;
        match openat2(folder.as_fd(), path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if tries < MAX_TRIES => (),
            outcome => return outcome,
        }
    }
}
