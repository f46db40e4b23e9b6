//! What several descriptors or processes have of one file: locks, mappings, notifications.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::NonNull;

use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::mman::{MapFlags, MsFlags, ProtFlags, mmap, msync, munmap};

use super::{Check, ended_well, in_child, opened, pair, refused, same};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("flock", flock),
    ("record-locks", record_locks),
    ("ofd-locks", ofd_locks),
    ("mapping", mapping),
    ("mapping-seen-by-others", mapping_seen_by_others),
    ("inotify", inotify),
];

/// F_WRLCK, as `struct flock` has it.
const WRITE: i16 = 1;

fn flock(folder: &Path) -> io::Result<()> {
    let path = folder.join("one");
    let lock = |arg| Flock::lock(opened(&path)?, arg).map_err(|(_, errno)| io::Error::from(errno));
    let held = lock(FlockArg::LockExclusiveNonblock)?;
    refused("the second lock", lock(FlockArg::LockSharedNonblock), libc::EWOULDBLOCK)?;
    drop(held);
    let _first = lock(FlockArg::LockSharedNonblock)?;
    lock(FlockArg::LockSharedNonblock).map(drop)
}

fn record(kind: i16, start: i64, len: i64) -> libc::flock {
    // SAFETY: a struct of integers, for which zeros are valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_start, lock.l_len) = (start, len);
    lock.l_type = kind;
    lock
}

/// fcntl(2): by process, by range.
fn record_locks(folder: &Path) -> io::Result<()> {
    let file = opened(&folder.join("one"))?;
    fcntl(&file, FcntlArg::F_SETLK(&record(WRITE, 0, 10)))?;
    let child = in_child(|| {
        let taken = fcntl(&file, FcntlArg::F_SETLK(&record(WRITE, 5, 1)));
        refused("a taken range", taken.map_err(io::Error::from), libc::EAGAIN)?;
        let mut asked = record(WRITE, 5, 1);
        fcntl(&file, FcntlArg::F_GETLK(&mut asked))?;
        same("who has it", asked.l_pid, nix::unistd::getppid().as_raw())?;
        fcntl(&file, FcntlArg::F_SETLK(&record(WRITE, 10, 1)))?;
        Ok(())
    })?;
    ended_well(child)
}

fn ofd_locks(folder: &Path) -> io::Result<()> {
    let path = folder.join("one");
    let (one, two) = (opened(&path)?, opened(&path)?);
    fcntl(&one, FcntlArg::F_OFD_SETLK(&record(WRITE, 0, 0)))?;
    let taken = fcntl(&two, FcntlArg::F_OFD_SETLK(&record(WRITE, 0, 0)));
    refused("the second lock", taken.map_err(io::Error::from), libc::EAGAIN)?;
    drop(one);
    fcntl(&two, FcntlArg::F_OFD_SETLK(&record(WRITE, 0, 0))).map(drop).map_err(Into::into)
}

/// A shared mapping of a whole file.
pub(super) struct Mapped {
    at: NonNull<u8>,
    len: usize,
}

impl Mapped {
    pub(super) fn new(file: &File, len: usize) -> io::Result<Mapped> {
        let length = len.try_into().map_err(io::Error::other)?;
        let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; nobody else changes the file meanwhile.
        let at = unsafe { mmap(None, length, both, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Mapped { at: at.cast(), len })
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has that length, is writable, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        // SAFETY: the mapping is there, with that length.
        unsafe { msync(self.at.cast(), self.len, MsFlags::MS_SYNC) }.map_err(Into::into)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping is `self`'s, and nobody has its address after this.
        let _ = unsafe { munmap(self.at.cast(), self.len) };
    }
}

fn mapping(folder: &Path) -> io::Result<()> {
    let file = opened(&folder.join("one"))?;
    file.set_len(10_000)?;
    let mut mapped = Mapped::new(&file, 10_000)?;
    mapped.bytes()[9_000..9_005].copy_from_slice(b"hello");
    let mut back = [0; 5];
    file.read_exact_at(&mut back, 9_000)?;
    same("what read(2) sees of the mapping", &back, b"hello")?;
    file.write_all_at(b"again", 100)?;
    same("what the mapping sees of write(2)", &mapped.bytes()[100..105], b"again")?;
    mapped.sync()?;
    drop(mapped);
    same("what is in the file", fs::read(folder.join("one"))?.get(9_000..9_005), Some(&b"hello"[..]))
}

fn mapping_seen_by_others(folder: &Path) -> io::Result<()> {
    let path = folder.join("one");
    let file = opened(&path)?;
    file.set_len(4096)?;
    let mut mapped = Mapped::new(&file, 4096)?;
    let child = in_child(|| {
        let own = opened(&path)?;
        Mapped::new(&own, 4096)?.bytes()[17] = 42;
        Ok(())
    })?;
    ended_well(child)?;
    same("what another process wrote", mapped.bytes()[17], 42)
}

/// Of changes made on this side.
fn inotify(folder: &Path) -> io::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    inotify.add_watch(
        folder,
        AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE,
    )?;
    let (one, two) = pair(folder);
    fs::write(&one, "x")?;
    fs::rename(&one, &two)?;
    fs::remove_file(&two)?;
    let events = inotify.read_events()?;
    let found: Vec<_> = events.iter().map(|event| event.mask).collect();
    same(
        "events",
        found,
        vec![AddWatchFlags::IN_CREATE, AddWatchFlags::IN_MOVED_TO, AddWatchFlags::IN_DELETE],
    )
}
