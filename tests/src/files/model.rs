//! A file changed at random in all ways there are, beside a model of it in memory: what fsx does.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};

use super::opened;
use super::sharing::Mapped;

/// No byte lies beyond.
const LARGEST: usize = 256 * 1024;

/// xorshift64*, from one seed always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(bits).unwrap_or(0) % bound.max(1)
    }
}

/// What is done at an offset, to so many bytes.
type Step = fn(&mut Model, usize, usize) -> io::Result<()>;

struct Model {
    path: PathBuf,
    file: File,
    wanted: Vec<u8>,
    random: Random,
    /// The last steps, for who looks for the fault.
    steps: Vec<String>,
}

/// So many random steps on a file in the folder. The error tells the seed and the last steps.
pub fn run(folder: &Path, seed: u64, steps: usize) -> io::Result<()> {
    let path = folder.join(format!("model-{seed}"));
    let file = opened(&path)?;
    let mut model = Model { path, file, wanted: Vec::new(), random: Random(seed | 1), steps: Vec::new() };
    for _ in 0..steps {
        model.step().map_err(|error| model.fault(seed, &error))?;
    }
    model.compare_all().map_err(|error| model.fault(seed, &error))?;
    fs::remove_file(&model.path)
}

impl Model {
    fn fault(&self, seed: u64, error: &io::Error) -> io::Error {
        let last = &self.steps[self.steps.len().saturating_sub(12)..];
        let count = self.steps.len();
        io::Error::other(format!("seed {seed}, step {count}: {error}; the last were: {}", last.join(", ")))
    }

    fn step(&mut self) -> io::Result<()> {
        let at = self.random.below(LARGEST);
        let len = 1 + self.random.below((LARGEST - at).min(24 * 1024));
        let kind = self.random.below(100);
        let step = |name: &str| format!("{name} {at:#x}+{len:#x}");
        let (name, act): (_, Step) = match kind {
            0..25 => ("write", Model::write),
            25..45 => ("read", Model::read),
            45..55 => ("truncate", Model::truncate),
            55..65 => ("map-write", Model::map_write),
            65..75 => ("map-read", Model::map_read),
            75..82 => ("punch", Model::punch),
            82..90 => ("append", Model::append),
            90..94 => ("reopen", Model::reopen),
            94..97 => ("rename", Model::rename),
            _ => ("sync", Model::sync),
        };
        self.steps.push(step(name));
        act(self, at, len)?;
        let size = self.file.metadata()?.len();
        super::same("the size", size, self.wanted.len() as u64)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| u8::try_from(self.random.below(255)).unwrap_or(0) + 1).collect()
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.wanted.len() < end {
            self.wanted.resize(end, 0);
        }
        self.wanted[at..end].copy_from_slice(bytes);
    }

    fn write(&mut self, at: usize, len: usize) -> io::Result<()> {
        let bytes = self.bytes(len);
        self.put(at, &bytes);
        self.file.write_all_at(&bytes, at as u64)
    }

    fn read(&mut self, at: usize, len: usize) -> io::Result<()> {
        let at = at.min(self.wanted.len());
        let wanted = &self.wanted[at..(at + len).min(self.wanted.len())];
        let mut found = vec![0; wanted.len()];
        self.file.read_exact_at(&mut found, at as u64)?;
        same_bytes(at, &found, wanted)
    }

    fn truncate(&mut self, at: usize, _: usize) -> io::Result<()> {
        self.wanted.resize(at, 0);
        self.file.set_len(at as u64)
    }

    fn map_write(&mut self, at: usize, len: usize) -> io::Result<()> {
        let bytes = self.bytes(len);
        self.put(at, &bytes);
        self.file.set_len(self.wanted.len() as u64)?;
        let mut mapped = Mapped::new(&self.file, self.wanted.len())?;
        mapped.bytes()[at..at + len].copy_from_slice(&bytes);
        if at.is_multiple_of(2) { mapped.sync() } else { Ok(()) }
    }

    fn map_read(&mut self, at: usize, len: usize) -> io::Result<()> {
        let end = (at + len).min(self.wanted.len());
        if at >= end {
            return Ok(());
        }
        let mut mapped = Mapped::new(&self.file, self.wanted.len())?;
        same_bytes(at, &mapped.bytes()[at..end], &self.wanted[at..end])
    }

    fn punch(&mut self, at: usize, len: usize) -> io::Result<()> {
        let end = (at + len).min(self.wanted.len());
        if at < end {
            self.wanted[at..end].fill(0);
        }
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let [at, len] = [at, len].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        fallocate(&self.file, flags, at, len).map_err(Into::into)
    }

    fn append(&mut self, _: usize, len: usize) -> io::Result<()> {
        let len = len.min(LARGEST - self.wanted.len());
        let bytes = self.bytes(len);
        self.wanted.extend(&bytes);
        OpenOptions::new().append(true).open(&self.path)?.write_all(&bytes)
    }

    fn reopen(&mut self, _: usize, _: usize) -> io::Result<()> {
        self.file = opened(&self.path)?;
        self.compare_all()
    }

    fn rename(&mut self, _: usize, _: usize) -> io::Result<()> {
        let other = self.path.with_extension(if self.path.extension().is_some() { "" } else { "renamed" });
        fs::rename(&self.path, &other)?;
        self.path = other;
        Ok(())
    }

    fn sync(&mut self, _: usize, _: usize) -> io::Result<()> {
        self.file.sync_data()
    }

    fn compare_all(&self) -> io::Result<()> {
        same_bytes(0, &fs::read(&self.path)?, &self.wanted)
    }
}

fn same_bytes(from: usize, found: &[u8], wanted: &[u8]) -> io::Result<()> {
    super::same("the length", found.len(), wanted.len())?;
    let wrong = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    let Some(wrong) = wrong else { return Ok(()) };
    let (found, wanted) = (found.get(wrong), wanted.get(wrong));
    Err(io::Error::other(format!("byte {:#x} is {found:?}, not {wanted:?}", from + wrong)))
}
