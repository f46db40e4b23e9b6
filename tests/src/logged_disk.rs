//! A disk that keeps a log of what is written to it, to be looked at as a power cut would have left it.
//!
//! A file is covered by one of the same content that a FUSE file system of this process serves. What is written
//! to it, and each flush, is logged; the file below stays as it was, and any point of the log can be laid over a
//! copy of it. The idea is that of the kernel's dm-log-writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyOpen, ReplyWrite, Request, Session,
    SessionACL, TimeOrNow, WriteFlags,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// How long the kernel may believe what it was told of the file.
const VALID: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub enum Entry {
    Write {
        offset: u64,
        data: Vec<u8>,
    },
    /// Punched out, or zeroed.
    Zero {
        offset: u64,
        length: u64,
    },
    /// All before it is on the disk for good.
    Flush,
}

type Log = Arc<Mutex<Vec<Entry>>>;

/// Covers a file until it is dropped.
pub struct LoggedDisk {
    below: File,
    covered: PathBuf,
    log: Log,
    session: Option<BackgroundSession>,
}

fn held(log: &Log) -> MutexGuard<'_, Vec<Entry>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LoggedDisk {
    /// `scratch` takes what is written, on any file system.
    pub fn cover(path: &Path, scratch: &Path) -> LoggedDisk {
        let below = File::open(path).unwrap();
        copy(path, scratch);
        let served = OpenOptions::new().read(true).write(true).open(scratch).unwrap();
        let log = Log::default();
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
        // A root that is a file may be mounted on one.
        let options = format!("fd={},rootmode=100600,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        mount(Some("logged-disk"), path, Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
        let disk = Served { file: served, log: log.clone() };
        let session = Session::from_fd(disk, OwnedFd::from(device), SessionACL::All, Config::default());
        let session = session.and_then(Session::spawn).unwrap();
        LoggedDisk { below, covered: path.to_owned(), log, session: Some(session) }
    }

    /// Entries so far.
    pub fn position(&self) -> usize {
        held(&self.log).len()
    }

    /// Takes the cover off: the log, and the file as it was, to lay it over.
    pub fn finish(mut self) -> Replay {
        self.uncover();
        Replay { below: self.below.try_clone().unwrap(), log: std::mem::take(&mut *held(&self.log)) }
    }

    fn uncover(&mut self) {
        if let Some(session) = self.session.take() {
            umount2(&self.covered, MntFlags::MNT_DETACH).unwrap();
            session.join().unwrap();
        }
    }
}

impl Drop for LoggedDisk {
    fn drop(&mut self) {
        self.uncover();
    }
}

/// A log, and the disk that it began with.
pub struct Replay {
    below: File,
    pub log: Vec<Entry>,
}

impl Replay {
    /// Writes the disk to `path` as it is when the entries that `happened` chooses have reached it.
    pub fn write(&self, path: &Path, happened: impl Fn(usize) -> bool) {
        let below = format!("/proc/{}/fd/{}", std::process::id(), self.below.as_raw_fd());
        copy(Path::new(&below), path);
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        for (_, entry) in self.log.iter().enumerate().filter(|(index, _)| happened(*index)) {
            match entry {
                Entry::Write { offset, data } => file.write_all_at(data, *offset).unwrap(),
                Entry::Zero { offset, length } => punch(&file, *offset, *length).unwrap(),
                Entry::Flush => {}
            }
        }
    }
}

/// With the holes kept.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-L", "--sparse=always", "--"]).args([from, to]).status().unwrap();
    assert!(status.success(), "cp {from:?} {to:?}");
}

fn punch(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let (offset, length) = (i64::try_from(offset).unwrap(), i64::try_from(length).unwrap());
    // SAFETY: takes a descriptor and numbers.
    match unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

struct Served {
    file: File,
    log: Log,
}

impl Served {
    fn attributes(&self) -> io::Result<FileAttr> {
        let metadata = self.file.metadata()?;
        let now = SystemTime::UNIX_EPOCH;
        Ok(FileAttr {
            ino: INodeNo(1),
            size: metadata.len(),
            blocks: metadata.blocks(),
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            kind: FileType::RegularFile,
            perm: 0o600,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// Logged in the order in which the answers go out.
    fn logged(&self, entry: Entry, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut log = held(&self.log);
        change()?;
        log.push(entry);
        Ok(())
    }
}

impl Filesystem for Served {
    fn getattr(&self, _: &Request, _: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes() {
            Ok(attributes) => reply.attr(&VALID, &attributes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match (size, self.attributes()) {
            // A disk has the size that it has.
            (Some(_), _) => reply.error(Errno::EPERM),
            (None, Ok(attributes)) => reply.attr(&VALID, &attributes),
            (None, Err(error)) => reply.error(error.into()),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut buffer = vec![0; size as usize];
        match self.file.read_at(&mut buffer, offset) {
            Ok(count) => reply.data(&buffer[..count]),
            Err(error) => reply.error(error.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let entry = Entry::Write { offset, data: data.to_vec() };
        match self.logged(entry, || self.file.write_all_at(data, offset)) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let _ = self.logged(Entry::Flush, || Ok(()));
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode & (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE) == 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        match self.logged(Entry::Zero { offset, length }, || punch(&self.file, offset, length)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error.into()),
        }
    }

    fn lseek(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: fuser::ReplyLseek,
    ) {
        let from = match whence {
            libc::SEEK_END => SeekFrom::End(offset),
            // Data up to the end: nothing here is sparse to who asks.
            libc::SEEK_DATA => SeekFrom::Start(offset.unsigned_abs()),
            _ => SeekFrom::End(0),
        };
        match (&self.file).seek(from) {
            Ok(at) => reply.offset(i64::try_from(at).unwrap()),
            Err(error) => reply.error(error.into()),
        }
    }
}
