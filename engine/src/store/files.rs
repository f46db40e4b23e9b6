//! How files enter the store: written under a temporary name, synced, renamed, folder synced.
//!
//! A temporary file's writer holds an flock on it. A file in `tmp/` that nobody holds is what a
//! killed process left, and the next writer removes it; no pid decides anything.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{Error, Result};

/// Before another try at a lock: flock(2) knows no time limit, and cannot be called off.
pub const SLICE: Duration = Duration::from_millis(20);

/// Tries until it works, or until `limit` is over: None.
pub fn within<L, E>(
    limit: Duration,
    mut attempt: impl FnMut() -> std::result::Result<Option<L>, E>,
) -> std::result::Result<Option<L>, E> {
    let deadline = Instant::now() + limit;
    loop {
        let lock = attempt()?;
        if lock.is_some() || Instant::now() >= deadline {
            return Ok(lock);
        }
        thread::sleep(SLICE);
    }
}

/// Taken by flock; released when dropped, or when the process ends in whatever way.
pub struct FileLock {
    _held: Flock<File>,
}

impl FileLock {
    /// Waits for the lock.
    pub fn wait(path: &Path, mode: FlockArg) -> Result<Self> {
        loop {
            match Flock::lock(open_lock_file(path)?, mode) {
                Ok(held) => return Ok(Self { _held: held }),
                Err((_, Errno::EINTR)) => {}
                Err((_, errno)) => return Err(Error::io("lock", path, errno.into())),
            }
        }
    }

    /// The lock if nobody holds it in a way that excludes `mode`.
    pub fn attempt(path: &Path, mode: FlockArg) -> Result<Option<Self>> {
        match Flock::lock(open_lock_file(path)?, mode) {
            Ok(held) => Ok(Some(Self { _held: held })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(Error::io("lock", path, errno.into())),
        }
    }
}

/// A lock whose file is there only while it is held or waited for.
pub struct PassingLock {
    held: Flock<File>,
    path: PathBuf,
}

impl PassingLock {
    /// Waits for the lock.
    pub fn wait(path: &Path) -> Result<Self> {
        loop {
            match Flock::lock(open_lock_file(path)?, FlockArg::LockExclusive) {
                Ok(held) if still_at(&held, path)? => return Ok(Self { held, path: path.to_owned() }),
                // Whoever held it has removed the file: the next one decides.
                Ok(_) | Err((_, Errno::EINTR)) => {}
                Err((_, errno)) => return Err(Error::io("lock", path, errno.into())),
            }
        }
    }

    /// The lock if nobody holds it.
    pub fn attempt(path: &Path) -> Result<Option<Self>> {
        loop {
            match Flock::lock(open_lock_file(path)?, FlockArg::LockExclusiveNonblock) {
                Ok(held) if still_at(&held, path)? => return Ok(Some(Self { held, path: path.to_owned() })),
                Ok(_) => {}
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, errno)) => return Err(Error::io("lock", path, errno.into())),
            }
        }
    }
}

impl Drop for PassingLock {
    fn drop(&mut self) {
        // Still locked: who waits for this file sees that it is gone. A killed holder leaves an empty file.
        if still_at(&self.held, &self.path).unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether an open file is the one that has this name.
fn still_at(file: &File, path: &Path) -> Result<bool> {
    let failed = |source| Error::io("examine", path, source);
    let open = file.metadata().map_err(failed)?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

pub(super) fn open_lock_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| Error::io("open", path, source))
}

/// A file being written. Dropped without [`TempFile::adopt`], it is removed.
pub struct TempFile {
    file: Flock<File>,
    path: PathBuf,
    adopted: bool,
}

impl TempFile {
    pub fn create(folder: &Path) -> Result<Self> {
        loop {
            // A fresh RandomState is random: the name only has to be free, not secret.
            let path = folder.join(format!("{:016x}", RandomState::new().hash_one(0_u8)));
            let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            let file = match opened {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(Error::io("create", &path, source)),
            };
            // A sweeper may have met the file before its lock: then it is gone, or about to be.
            let Ok(file) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
            let links = file.metadata().map_err(|source| Error::io("examine", &path, source))?.nlink();
            if links > 0 {
                return Ok(Self { file, path, adopted: false });
            }
        }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its place, for good: once this returns, it survives a power cut. It is
    /// read-only from then on. A file that is there already is replaced: names are content addresses.
    pub fn adopt(self, target: &Path) -> Result<()> {
        adopt(vec![(self, target.to_owned())])
    }

    /// Waits until the content is on the disk.
    fn settle(&self, target: &Path) -> Result<()> {
        let failed = |what, source| Error::io(what, target, source);
        self.file.set_permissions(Permissions::from_mode(0o444)).map_err(|e| failed("write", e))?;
        self.file.sync_all().map_err(|e| failed("sync", e))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.adopted {
            // If this fails, a later sweep finds the file without its lock.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// [`TempFile::adopt`] for several files, which wait for the disk together.
pub fn adopt(mut files: Vec<(TempFile, PathBuf)>) -> Result<()> {
    std::thread::scope(|scope| {
        let settle = |(file, target): &(TempFile, PathBuf)| file.settle(target);
        let (first, others) =
            files.split_first().map_or((None, &[][..]), |(first, others)| (Some(first), others));
        let waiting: Vec<_> = others.iter().map(|other| scope.spawn(move || settle(other))).collect();
        let first = first.map_or(Ok(()), settle);
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            // A panic of the thread is a bug, and goes on here.
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        waiting.into_iter().map(join).fold(first, Result::and)
    })?;
    for (file, target) in &mut files {
        fs::rename(&file.path, &*target).map_err(|e| Error::io("rename a new file to", target, e))?;
        file.adopted = true;
    }
    let parents: BTreeSet<_> = files.iter().filter_map(|(_, target)| target.parent()).collect();
    parents.into_iter().try_for_each(sync_folder)
}

/// Bytes that are worth a start of their own.
pub const WRITEBACK: u64 = 4 << 20;

/// Lets the disk begin with what was written last: who waits for it in the end waits for less.
pub fn start_writeback(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else { return };
    // SAFETY: sync_file_range(2) takes a descriptor, which is open, and no pointers. What it answers does not
    // matter: the sync at the end tells of failures.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Makes a rename or removal in the folder of `path` last.
pub fn sync_parent(path: &Path) -> Result<()> {
    sync_folder(path.parent().unwrap_or(Path::new("/")))
}

fn sync_folder(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| Error::io("sync", folder, source))
}

/// Makes one folder, private to its owner. One that is there is left as it is.
pub fn ensure_folder(path: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::io("create", path, error)),
        _ => Ok(()),
    }
}

/// Removes what killed writers left.
pub fn sweep(tmp: &Path) -> Result<()> {
    let listing = fs::read_dir(tmp).map_err(|source| Error::io("list", tmp, source))?;
    for entry in listing {
        let path = entry.map_err(|source| Error::io("list", tmp, source))?.path();
        let Ok(file) = File::open(&path) else { continue };
        if let Ok(_held) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path, error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_adopted_file_is_in_place_and_read_only() {
        let folder = tempfile::tempdir().unwrap();
        let temp = TempFile::create(folder.path()).unwrap();
        temp.file().write_all(b"content").unwrap();
        let target = folder.path().join("target");
        temp.adopt(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"content");
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o444);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_passing_lock_excludes_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = PassingLock::wait(&path).unwrap();
        assert!(PassingLock::attempt(&path).unwrap().is_none());
        let counter = std::sync::Mutex::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let _held = PassingLock::wait(&path).unwrap();
                    *counter.try_lock().expect("nobody else holds it") += 1;
                });
            }
            drop(first);
        });
        assert_eq!(counter.into_inner().unwrap(), 4);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_dropped_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        drop(TempFile::create(folder.path()).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn sweep_removes_what_the_dead_left_and_spares_the_living() {
        let folder = tempfile::tempdir().unwrap();
        let alive = TempFile::create(folder.path()).unwrap();
        fs::write(folder.path().join("orphan"), b"x").unwrap();
        sweep(folder.path()).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [alive.path()]);
    }
}
