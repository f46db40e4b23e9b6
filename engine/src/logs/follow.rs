//! Waiting for what is written next, and going on over rotations.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::reader::{Current, Delivery};
use super::{LogError, Note, files};
use crate::time;

/// Delivers what is written until the watch says that it is over, or the time wanted has passed.
pub(super) fn follow(
    mut watch: Watch<'_>,
    live: &Path,
    mut current: Option<Current>,
    delivery: &mut Delivery<'_>,
) -> Result<(), LogError> {
    loop {
        // Before reading: an event from here on wakes the wait below.
        watch.take_events()?;
        let now = time::now_ns();
        if let Some(current) = &mut current {
            watch.writes_to(current)?;
            if delivery.drain(current)?.is_break() {
                return Ok(());
            }
        }
        if watch.replaced > 0 {
            match next_file(&mut watch, live, &mut current, delivery)? {
                Next::Taken => continue,
                Next::None => {}
                Next::Stop => return Ok(()),
            }
        }
        if watch.over || delivery.until() < now {
            return Ok(());
        }
        if delivery.caught_up().is_break() {
            return Ok(());
        }
        watch.wait(delivery.until())?;
    }
}

enum Next {
    Taken,
    None,
    Stop,
}

/// Reads the files that came after the current one, and makes the newest the current one.
fn next_file(
    watch: &mut Watch<'_>,
    live: &Path,
    current: &mut Option<Current>,
    delivery: &mut Delivery<'_>,
) -> Result<Next, LogError> {
    let found = files::scan(live, current.as_ref().map(|current| current.id))?;
    let replaced = std::mem::take(&mut watch.replaced);
    if found.files.is_empty() {
        // Told of a file that had been found without that.
        return Ok(Next::None);
    }
    // Each rotation makes one file. If more were made than are found, some came and went.
    let missed = current.is_some() && !found.met && replaced > found.files.len();
    for file in found.files {
        if delivery.follow_on(current, file, 0..u64::MAX)?.is_break() {
            return Ok(Next::Stop);
        }
    }
    if missed && delivery.note(Note::Missed).is_break() {
        return Ok(Next::Stop);
    }
    Ok(Next::Taken)
}

/// Tells when a log changes, and when following is over.
#[derive(Debug)]
pub(super) struct Watch<'fd> {
    inotify: Inotify,
    folder: PathBuf,
    live_name: Option<OsString>,
    stop: BorrowedFd<'fd>,
    /// The current file.
    file: Option<(files::FileId, WatchDescriptor)>,
    /// How many files have taken the live one's name and are not looked at yet.
    replaced: usize,
    /// Nobody writes any more.
    over: bool,
}

impl<'fd> Watch<'fd> {
    pub(super) fn new(live: &Path, stop: BorrowedFd<'fd>) -> Result<Self, LogError> {
        let folder = live.parent().unwrap_or(Path::new("/")).to_owned();
        let failed = |errno: Errno| LogError::Watch { path: folder.clone(), source: errno.into() };
        let inotify = match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
            Err(Errno::EMFILE) => return Err(LogError::TooManyFollowers),
            other => other.map_err(failed)?,
        };
        let new_names = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(&folder, new_names).map_err(failed)?;
        let live_name = live.file_name().map(ToOwned::to_owned);
        Ok(Self { inotify, folder, live_name, stop, file: None, replaced: 0, over: false })
    }

    fn failed(&self, errno: Errno) -> LogError {
        LogError::Watch { path: self.folder.clone(), source: errno.into() }
    }

    /// Tells of writes to this file from now on, whatever its name becomes.
    fn writes_to(&mut self, current: &Current) -> Result<(), LogError> {
        if self.file.is_some_and(|(id, _)| id == current.id) {
            return Ok(());
        }
        if let Some((_, old)) = self.file.take() {
            // Gone by itself if the file is.
            let _ = self.inotify.rm_watch(old);
        }
        let path = format!("/proc/self/fd/{}", current.file().as_raw_fd());
        let watched = self.inotify.add_watch(path.as_str(), AddWatchFlags::IN_MODIFY);
        self.file = Some((current.id, watched.map_err(|errno| self.failed(errno))?));
        Ok(())
    }

    /// Waits for a change, or until a time.
    fn wait(&mut self, until: i64) -> Result<(), LogError> {
        let timeout = if until == i64::MAX {
            PollTimeout::NONE
        } else {
            // Rounded up: no sooner than the time wanted.
            let left = until.saturating_sub(time::now_ns()).max(0) / 1_000_000 + 1;
            i32::try_from(left).ok().and_then(|ms| PollTimeout::try_from(ms).ok()).unwrap_or(PollTimeout::MAX)
        };
        let mut waiting =
            [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN), PollFd::new(self.stop, PollFlags::POLLIN)];
        match poll(&mut waiting, timeout) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(self.failed(errno)),
            // Hung up counts, too. What was written before is read once more.
            Ok(_) => self.over |= waiting[1].any().unwrap_or(true),
        }
        Ok(())
    }

    fn take_events(&mut self) -> Result<(), LogError> {
        loop {
            let events = match self.inotify.read_events() {
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => continue,
                other => other.map_err(|errno| self.failed(errno))?,
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    // Any number of files may have come.
                    self.replaced = usize::MAX;
                } else if event.name.is_some() && event.name == self.live_name {
                    self.replaced = self.replaced.saturating_add(1);
                }
            }
        }
    }
}
