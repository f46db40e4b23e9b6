//! The reading side: `logs`.

use std::fs::File;
use std::ops::{ControlFlow, Range};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::decode::Decoder;
use super::files::{self, FileId, LogFile};
use super::follow::{self, Watch};
use super::lines::Lines;
use super::{Entry, LogError, tail};

/// Which entries are wanted.
#[derive(Debug, Default, Clone, Copy)]
pub struct Options<'fd> {
    /// Only so many of the last lines there are; `since` and `until` choose among these, as with docker.
    pub tail: Option<u64>,
    /// Not what was printed before this time (nanoseconds since 1970).
    pub since: Option<i64>,
    /// Not what was printed after this time; following ends then.
    pub until: Option<i64>,
    /// Follow what is written from now on until this descriptor is readable (or hung up), and all that
    /// was written before that has been delivered.
    pub follow_until: Option<BorrowedFd<'fd>>,
}

/// What a reader has to tell.
#[derive(Debug)]
pub enum Item<'a> {
    Entry(Entry<'a>),
    Note(Note),
    /// All that there is by now has been given: what was gathered should be shown. Only when following.
    CaughtUp,
}

/// What the user should hear of, each once a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    #[error("the log has damaged lines; they are left out")]
    Damaged,
    #[error("the log was written faster than it could be read; lines may be missing")]
    Missed,
}

/// Reads one container's log, while it is written or not.
#[derive(Debug)]
pub struct Reader {
    live: PathBuf,
}

impl Reader {
    /// The log of container `id` in folder `dir`. A log without files is an empty one.
    pub fn new(dir: &Path, id: &str) -> Self {
        Self { live: dir.join(files::live_name(id)) }
    }

    /// Gives entries and notes to `each`, in the order in which they were written, until it breaks.
    /// Without following, what is written meanwhile is left out.
    pub fn read(
        &self,
        options: &Options<'_>,
        each: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        // Before the files are looked at: from here on, nothing happens to them unnoticed.
        let watch = options.follow_until.map(|stop| Watch::new(&self.live, stop)).transpose()?;
        let found = files::scan(&self.live, None)?.files;
        let (first, offset) = match options.tail {
            Some(count) => tail::start(&found, count)?,
            None => (0, 0),
        };
        let mut delivery = Delivery::new(options, each);
        let mut current = None;
        for (index, log) in found.into_iter().enumerate().skip(first) {
            let begin = if index == first { offset } else { 0 };
            let end = if watch.is_some() { u64::MAX } else { log.size };
            if delivery.follow_on(&mut current, log, begin..end)?.is_break() {
                return Ok(());
            }
        }
        match watch {
            Some(watch) => follow::follow(watch, &self.live, current, &mut delivery),
            None => current.map_or(Ok(()), |mut last| delivery.drain(&mut last).map(drop)),
        }
    }
}

/// A file being read.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) id: FileId,
    path: PathBuf,
    lines: Lines,
}

impl Current {
    pub(super) fn file(&self) -> &File {
        self.lines.file()
    }
}

/// Brings lines to the caller.
pub(super) struct Delivery<'a> {
    each: &'a mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
    decoder: Decoder,
    since: i64,
    until: i64,
    follows: bool,
    told: Vec<Note>,
    /// Something was given since the last [`Item::CaughtUp`].
    gave: bool,
}

impl<'a> Delivery<'a> {
    fn new(options: &Options<'_>, each: &'a mut dyn FnMut(Item<'_>) -> ControlFlow<()>) -> Self {
        Self {
            each,
            decoder: Decoder::default(),
            since: options.since.unwrap_or(i64::MIN),
            until: options.until.unwrap_or(i64::MAX),
            follows: options.follow_until.is_some(),
            told: Vec::new(),
            gave: false,
        }
    }

    pub(super) fn until(&self) -> i64 {
        self.until
    }

    /// Delivers what is left of the `current` file, which is complete by now, and makes the next one
    /// the current one.
    pub(super) fn follow_on(
        &mut self,
        current: &mut Option<Current>,
        next: LogFile,
        range: Range<u64>,
    ) -> Result<ControlFlow<()>, LogError> {
        let mut buffer = Vec::new();
        if let Some(mut old) = current.take() {
            if self.drain(&mut old)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            // The end of this line will never come.
            if old.lines.has_rest() && self.note(Note::Damaged).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            buffer = old.lines.into_buffer();
        }
        let lines = Lines::new(next.file, range, buffer);
        *current = Some(Current { id: next.id, path: next.path, lines });
        Ok(ControlFlow::Continue(()))
    }

    /// Delivers the lines there are.
    pub(super) fn drain(&mut self, current: &mut Current) -> Result<ControlFlow<()>, LogError> {
        let Current { lines, path, .. } = current;
        while let Some(line) = lines.next().map_err(|e| LogError::io("read the log file", path, e))? {
            if self.line(line).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn line(&mut self, line: &[u8]) -> ControlFlow<()> {
        let Some(entry) = self.decoder.decode(line) else { return self.note(Note::Damaged) };
        if entry.time < self.since {
            return ControlFlow::Continue(());
        }
        if entry.time > self.until {
            // A clock that was set back may bring older times yet; but following has to end.
            return if self.follows { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        }
        self.gave = true;
        (self.each)(Item::Entry(entry))
    }

    pub(super) fn caught_up(&mut self) -> ControlFlow<()> {
        if std::mem::take(&mut self.gave) { (self.each)(Item::CaughtUp) } else { ControlFlow::Continue(()) }
    }

    pub(super) fn note(&mut self, note: Note) -> ControlFlow<()> {
        if self.told.contains(&note) {
            return ControlFlow::Continue(());
        }
        self.told.push(note);
        (self.each)(Item::Note(note))
    }
}
