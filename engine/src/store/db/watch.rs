//! Waiting for others to write, without asking again and again.
//!
//! Every writer opens the writers' lock file and closes it once its transaction is committed, however
//! it ends; inotify tells of that close. The log itself tells too early: a commit is in it before the
//! shared index in memory makes it visible, and writing that is seen by nobody.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::events::{EventRow, Since};
use super::{Database, Result};
use crate::store::{Error, files};

/// Events read at once.
const BATCH: u32 = 256;

/// Wakes after writes of any process, this one included.
#[derive(Debug)]
pub struct WriteWatch {
    inotify: Inotify,
    path: PathBuf,
}

impl WriteWatch {
    /// Tells of every write that commits from here on.
    pub(super) fn new(lock_path: PathBuf) -> Result<Self> {
        let failed = |errno: Errno| Error::io("watch", &lock_path, errno.into());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(failed)?;
        let watch = Self { inotify, path: lock_path };
        watch.add()?;
        Ok(watch)
    }

    fn add(&self) -> Result<()> {
        // Without a writer yet it may not be there.
        files::open_lock_file(&self.path)?;
        let flags =
            AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        self.inotify
            .add_watch(&self.path, flags)
            .map_err(|errno| Error::io("watch", &self.path, errno.into()))?;
        Ok(())
    }

    /// Waits until somebody has written since the last call; false: until `end` became readable or was
    /// closed at its other side. May wake once too often.
    pub fn wait(&self, end: BorrowedFd<'_>) -> Result<bool> {
        let failed = |errno: Errno| Error::io("wait for", &self.path, errno.into());
        let mut polled =
            [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN), PollFd::new(end, PollFlags::POLLIN)];
        loop {
            match poll(&mut polled, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
                Ok(_) => break,
            }
        }
        if polled[1].any().unwrap_or(true) {
            return Ok(false);
        }
        let mut replaced = false;
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    replaced |=
                        events.iter().any(|event| !event.mask.contains(AddWatchFlags::IN_CLOSE_WRITE));
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        if replaced {
            self.add()?;
        }
        Ok(true)
    }
}

/// Follows the events.
pub struct EventWatch<'a> {
    database: &'a Database,
    watch: WriteWatch,
    last: i64,
}

impl EventWatch<'_> {
    /// The next events, at least one, in order; none once `end` is readable or closed at its other side.
    pub fn next(&mut self, end: BorrowedFd<'_>) -> Result<Option<Vec<EventRow>>> {
        loop {
            let rows = self.database.events(Since::Id(self.last), None, BATCH)?;
            if let Some(last) = rows.last() {
                self.last = last.id;
                return Ok(Some(rows));
            }
            if !self.watch.wait(end)? {
                return Ok(None);
            }
        }
    }
}

impl Database {
    /// Wakes after every write from here on.
    pub fn watch_writes(&self) -> Result<WriteWatch> {
        WriteWatch::new(self.lock_path.clone())
    }

    /// The events after the one of id `last`: those that are there first, then those to come.
    pub fn watch_events(&self, last: i64) -> Result<EventWatch<'_>> {
        Ok(EventWatch { database: self, watch: self.watch_writes()?, last })
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
