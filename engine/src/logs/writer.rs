//! The writing side, used by a container's two pumps.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::partial::{self, Chunk};
use super::{Attrs, Driver, LogConfig, LogError, Partial, Stream, attrs, files};

/// JSON gathered before it is written. A chunk of ordinary lines stays below and is one write(2); one of
/// nothing but newlines would be 35 times its size.
const BATCH: usize = 128 << 10;

/// Writes one container's log. A failure to write never fails the caller: lines are dropped until
/// writing works again.
#[derive(Debug)]
pub struct Writer {
    /// None: nothing is kept.
    output: Option<Mutex<Output>>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Writer {
    /// Opens the log of container `id` in folder `dir`, made if missing; what is there is continued. One
    /// writer a log: its owner sees to that.
    pub fn open(dir: &Path, id: &str, config: &LogConfig, attrs: &Attrs) -> Result<Self, LogError> {
        let attrs = attrs::to_json(attrs)?;
        let output = match config.driver {
            Driver::JsonFile => Some(Mutex::new(Output::open(dir.join(files::live_name(id)), config)?)),
            Driver::None => None,
        };
        let middle = |stream| partial::middle(stream, &attrs);
        Ok(Self { output, stdout: middle(Stream::Stdout), stderr: middle(Stream::Stderr) })
    }

    /// Logs what was read from a stream. A line that has not ended stays in `partial`.
    pub fn write(&self, stream: Stream, bytes: &[u8], partial: &mut Partial) {
        if self.output.is_none() {
            return;
        }
        let mut chunk = Chunk::begin(partial, self.middle(stream));
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            chunk.text(bytes.get(start..end).unwrap_or_default(), true);
            start = end + 1;
            if chunk.out().len() >= BATCH {
                self.flush(chunk.out());
            }
        }
        chunk.text(bytes.get(start..).unwrap_or_default(), false);
        self.flush(chunk.out());
    }

    /// Logs what is left of a stream that has ended.
    pub fn finish(&self, stream: Stream, partial: &mut Partial) {
        let mut chunk = Chunk::begin(partial, self.middle(stream));
        chunk.end();
        self.flush(chunk.out());
    }

    /// Why lines are being lost, once for each time that it begins.
    pub fn take_error(&self) -> Option<LogError> {
        self.output.as_ref().and_then(|output| lock(output).error.take())
    }

    fn middle(&self, stream: Stream) -> &[u8] {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    fn flush(&self, out: &mut Vec<u8>) {
        if let Some(output) = self.output.as_ref().filter(|_| !out.is_empty()) {
            lock(output).append(out);
        }
        out.clear();
    }
}

/// A pump that panicked left nothing worse than a torn line.
fn lock(output: &Mutex<Output>) -> MutexGuard<'_, Output> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Output {
    live: PathBuf,
    max_size: u64,
    max_file: u32,
    /// None after a rotation, until the next line.
    file: Option<File>,
    size: u64,
    /// The file does not end in a newline: the line before was cut off.
    torn: bool,
    /// Lines are being lost.
    failing: bool,
    error: Option<LogError>,
}

impl Output {
    fn open(live: PathBuf, config: &LogConfig) -> Result<Self, LogError> {
        files::prune(&live, config.max_file)?;
        let mut output = Self {
            live,
            max_size: config.max_size.unwrap_or(u64::MAX).max(1),
            max_file: config.max_file,
            file: None,
            size: 0,
            torn: false,
            failing: false,
            error: None,
        };
        output.open_live()?;
        Ok(output)
    }

    fn open_live(&mut self) -> Result<(), LogError> {
        let file = files::open_live(&self.live)?;
        let failed = |source| LogError::io("read the log file", &self.live, source);
        self.size = file.metadata().map_err(failed)?.len();
        let mut last = [b'\n'];
        if let Some(at) = self.size.checked_sub(1) {
            file.read_exact_at(&mut last, at).map_err(failed)?;
        }
        self.torn = last != [b'\n'];
        self.file = Some(file);
        Ok(())
    }

    fn append(&mut self, lines: &[u8]) {
        match self.try_append(lines) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.error = Some(error);
                self.failing = true;
            }
            Err(_) => {}
        }
    }

    fn try_append(&mut self, mut lines: &[u8]) -> Result<(), LogError> {
        while !lines.is_empty() {
            if self.size >= self.max_size {
                files::rotate(&self.live, self.max_file)?;
                self.file = None;
                self.size = 0;
            }
            if self.file.is_none() {
                self.open_live()?;
            }
            if self.torn {
                self.write(b"\n")?;
            }
            let (fitting, rest) = lines.split_at(self.fitting(lines));
            self.write(fitting)?;
            lines = rest;
        }
        Ok(())
    }

    /// Length of the lines that begin below the limit. At least one.
    fn fitting(&self, lines: &[u8]) -> usize {
        // The file may be at its limit when the newline behind a torn line went in.
        let room = self.max_size.saturating_sub(self.size).max(1);
        let Ok(before) = usize::try_from(room - 1) else { return lines.len() };
        let end = lines.get(before..).and_then(|beyond| memchr::memchr(b'\n', beyond));
        end.map_or(lines.len(), |end| before + end + 1)
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), LogError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        while !bytes.is_empty() {
            let failed = match file.write(bytes) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(written) => {
                    let (done, rest) = bytes.split_at(written);
                    self.size = self.size.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
                    self.torn = done.last() != Some(&b'\n');
                    bytes = rest;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            return Err(LogError::io("write to the log file", &self.live, failed));
        }
        Ok(())
    }
}
