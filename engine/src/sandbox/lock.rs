//! A sandbox's lock, on its folder: held means alive. No pid file decides anything.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use crate::store::files::within;

/// Held by a supervisor for its sandbox's whole life; the kernel lets go of it however that ends. It
/// belongs to the open file (flock(2)): who starts the supervisor takes it, hands the descriptor over and
/// closes its own, and at no time is it free.
#[derive(Debug)]
pub struct SandboxLock {
    held: File,
}

impl SandboxLock {
    /// Takes the lock of the sandbox in `dir`. None: somebody holds it, so the sandbox lives.
    pub fn attempt(dir: &Path) -> io::Result<Option<SandboxLock>> {
        let folder = File::open(dir)?;
        // SAFETY: flock(2) takes a descriptor, which is open, and a number.
        let locked = unsafe { libc::flock(folder.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
        if locked == 0 {
            return Ok(Some(SandboxLock { held: folder }));
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            error => Err(error),
        }
    }

    /// Takes the lock once the sandbox has ended, and calls `end` before each try. None: it has not within
    /// the limit.
    pub fn wait<T>(dir: &Path, limit: Duration, end: impl Fn() -> T) -> io::Result<Option<SandboxLock>> {
        within(limit, || {
            end();
            Self::attempt(dir)
        })
    }

    /// For whoever takes the lock over with a copy of this.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn waiting_goes_on_ending_what_lives_and_gives_up_at_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let held = Cell::new(SandboxLock::attempt(folder.path()).unwrap());
        let tries = Cell::new(0);
        let end = || {
            tries.set(tries.get() + 1);
            if tries.get() == 3 {
                held.take();
            }
        };
        let lock = SandboxLock::wait(folder.path(), Duration::from_secs(10), end).unwrap();
        assert!(lock.is_some() && tries.get() >= 3);
        assert!(SandboxLock::wait(folder.path(), Duration::from_millis(50), || ()).unwrap().is_none());
    }

    #[test]
    fn lock_stays_held_while_a_copy_of_its_descriptor_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let lock = SandboxLock::attempt(folder.path()).unwrap().unwrap();
        let copy = lock.descriptor().try_clone_to_owned().unwrap();
        drop(lock);
        assert!(SandboxLock::attempt(folder.path()).unwrap().is_none());
        drop(copy);
        assert!(SandboxLock::attempt(folder.path()).unwrap().is_some());
    }

    #[test]
    fn a_sandbox_without_a_folder_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let error = SandboxLock::attempt(&folder.path().join("gone")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
