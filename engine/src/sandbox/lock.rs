//! A sandbox's lock, on its folder: held means alive. No pid file decides anything.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Held by a supervisor for its sandbox's whole life; the kernel lets go of it however that ends.
#[derive(Debug)]
pub struct SandboxLock {
    _held: Flock<File>,
}

impl SandboxLock {
    /// Takes the lock of the sandbox in `dir`. None: somebody holds it, so the sandbox lives.
    pub fn attempt(dir: &Path) -> io::Result<Option<SandboxLock>> {
        Self::lock(dir, FlockArg::LockExclusiveNonblock)
    }

    /// Waits until the sandbox has ended.
    pub fn wait(dir: &Path) -> io::Result<Option<SandboxLock>> {
        Self::lock(dir, FlockArg::LockExclusive)
    }

    fn lock(dir: &Path, how: FlockArg) -> io::Result<Option<SandboxLock>> {
        match Flock::lock(File::open(dir)?, how) {
            Ok(held) => Ok(Some(SandboxLock { _held: held })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}
