//! The files of the run folder that namespaces live by.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::FlockArg;

use super::RootlessError;
use crate::store::FileLock;

/// A namespace's file.
#[derive(Debug)]
pub struct NamespaceFile {
    pub path: PathBuf,
    file: File,
}

/// As long as the process is a member of the user namespace: that is, to its end.
static MEMBERSHIP: OnceLock<NamespaceFile> = OnceLock::new();

/// What keeps the user namespace held, to be handed on to whoever shall outlive this process. None: this
/// process has not entered one.
pub fn membership() -> Option<BorrowedFd<'static>> {
    MEMBERSHIP.get().map(|held| held.file.as_fd())
}

pub fn keep_membership(file: NamespaceFile) {
    let _ = MEMBERSHIP.set(file);
}

/// The right to make a namespace, of one process at a time.
pub fn alone(run: &Path, name: &str) -> Result<FileLock, RootlessError> {
    let path = run.join(name);
    let locked = FileLock::wait(&path, FlockArg::LockExclusive).map_err(io::Error::other);
    locked.map_err(RootlessError::file("lock", &path))
}

impl NamespaceFile {
    pub fn open(run: &Path, name: &str) -> Result<NamespaceFile, RootlessError> {
        let path = run.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(RootlessError::file("open", &path))?;
        Ok(NamespaceFile { path, file })
    }

    /// Keeps the holder from ending. Waits for one that is about to.
    pub fn join(&self) -> Result<(), RootlessError> {
        self.flock(libc::LOCK_SH).map_err(RootlessError::file("lock", &self.path))
    }

    /// Waits until nobody uses the namespace.
    pub fn wait_for_nobody(&self) -> io::Result<()> {
        self.flock(libc::LOCK_EX)
    }

    fn flock(&self, operation: libc::c_int) -> io::Result<()> {
        loop {
            // SAFETY: flock(2) takes a descriptor, which is open, and a number.
            if unsafe { libc::flock(self.file.as_raw_fd(), operation) } == 0 {
                return Ok(());
            }
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            }
        }
    }

    /// The process that holds the namespace.
    pub fn holder(&self) -> Result<Option<libc::pid_t>, RootlessError> {
        let lock =
            self.record(libc::F_GETLK).map_err(RootlessError::file("ask for the lock of", &self.path))?;
        Ok((libc::c_int::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
    }

    /// The same, as a descriptor that means that process and no later one.
    pub fn holder_process(&self) -> Result<Option<(libc::pid_t, OwnedFd)>, RootlessError> {
        loop {
            let Some(pid) = self.holder()? else { return Ok(None) };
            let process = crate::sandbox::cgroup::pidfd(pid);
            // It had the lock before and has it now, so the number was its own in between.
            if self.holder()? == Some(pid) {
                let missing = || io::Error::from(io::ErrorKind::NotFound);
                let process = process
                    .ok_or_else(missing)
                    .map_err(RootlessError::file("open the holder of", &self.path))?;
                return Ok(Some((pid, process)));
            }
        }
    }

    /// Becomes the one that [`NamespaceFile::holder`] names, until this process ends.
    pub fn hold(&self) -> io::Result<()> {
        self.record(libc::F_SETLK).map(drop)
    }

    fn record(&self, command: libc::c_int) -> io::Result<libc::flock> {
        // SAFETY: a plain struct for which zeros mean the whole file.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::c_short::try_from(libc::F_WRLCK).unwrap_or(1);
        // SAFETY: fcntl(2) reads and writes one `struct flock`, which lives here.
        match unsafe { libc::fcntl(self.file.as_raw_fd(), command, &raw mut lock) } {
            0 => Ok(lock),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl From<(PathBuf, OwnedFd)> for NamespaceFile {
    fn from((path, fd): (PathBuf, OwnedFd)) -> NamespaceFile {
        NamespaceFile { path, file: fd.into() }
    }
}

impl AsFd for NamespaceFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The run folder, made if need be. In /tmp anybody could have made it first.
pub fn ensure_folder(run: &Path) -> Result<(), RootlessError> {
    let make = |path: &Path| DirBuilder::new().mode(0o700).recursive(true).create(path);
    make(run).map_err(RootlessError::file("make the folder", run))?;
    let found = fs::symlink_metadata(run).map_err(RootlessError::file("look at", run))?;
    let own = nix::unistd::geteuid().as_raw();
    if !found.is_dir() || found.uid() != own || found.mode() & 0o022 != 0 {
        return Err(RootlessError::Folder(run.to_path_buf()));
    }
    Ok(())
}

/// Waits for a descriptor to say one byte. False: it was closed instead.
pub fn heard(fd: BorrowedFd<'_>) -> bool {
    let mut byte = [0];
    loop {
        match nix::unistd::read(fd, &mut byte) {
            Ok(count) => return count == 1,
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

pub fn say(fd: BorrowedFd<'_>) -> bool {
    nix::unistd::write(fd, &[0]) == Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_named_as_long_as_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let file = NamespaceFile::open(folder.path(), "user").unwrap();
        assert_eq!(file.holder().unwrap(), None);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        // SAFETY: the child makes system calls only, until it is killed.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let _ = file.hold();
            say(theirs.as_fd());
            loop {
                nix::unistd::pause();
            }
        }
        assert!(heard(ours.as_fd()));
        assert_eq!(file.holder_process().unwrap().unwrap().0, pid);
        let child = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
        nix::sys::wait::waitpid(child, None).unwrap();
        assert_eq!(file.holder().unwrap(), None);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("a/hull");
        ensure_folder(&run).unwrap();
        ensure_folder(&run).unwrap();
        fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(ensure_folder(&run), Err(RootlessError::Folder(_))));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&run, &link).unwrap();
        assert!(ensure_folder(&link).is_err());
    }
}
