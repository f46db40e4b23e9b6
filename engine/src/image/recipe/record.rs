//! Writes a recipe while a tar is read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use zstd::stream::write::Encoder;

use super::format::{Header, MAX_LITERAL, Piece, WINDOW_LOG};

/// Headers are much alike: more effort gains little.
const LEVEL: i32 = 1;

/// Reads a tar, and notes what it read: bytes as they are, except those of which it was told that the
/// layer file has them. Told of no file, it notes nothing.
///
/// A recipe that cannot be written does not stop the reading; [`Recorder::finish`] says it.
pub struct Recorder<'a, R> {
    inner: R,
    writer: Option<Writer<'a>>,
    /// What comes next is to lie here in the layer file.
    announced: Option<Run>,
}

/// A run of bytes in the layer file.
#[derive(Debug, Clone, Copy)]
struct Run {
    offset: u64,
    seen: u64,
    length: u64,
}

impl<'a, R: Read> Recorder<'a, R> {
    pub fn new(inner: R, recipe: Option<&'a File>) -> Self {
        Self { inner, writer: recipe.map(Writer::new), announced: None }
    }

    /// Says that the next `length` bytes, if they are read before [`Recorder::settle`], lie at `offset`
    /// in the layer file.
    pub fn announce(&mut self, offset: u64, length: u64) {
        self.announced = (length > 0).then_some(Run { offset, seen: 0, length });
    }

    /// What was announced and not read does not lie there.
    pub fn settle(&mut self) {
        if let (Some(run), Some(writer)) = (self.announced.take(), &mut self.writer)
            && run.seen > 0
        {
            writer.run(run.offset, run.seen);
        }
    }

    /// The reader, and the recipe but for its header.
    pub fn finish(mut self) -> (R, Option<Unsigned<'a>>) {
        self.settle();
        (self.inner, self.writer.map(Unsigned))
    }
}

impl<R: Read> Read for Recorder<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if self.writer.is_none() {
            return Ok(n);
        }
        let mut bytes = buf.get(..n).unwrap_or_default();
        if let Some(run) = &mut self.announced {
            let left = usize::try_from(run.length - run.seen).unwrap_or(usize::MAX);
            let (lies_there, rest) = bytes.split_at(left.min(bytes.len()));
            run.seen += lies_there.len() as u64;
            bytes = rest;
        }
        if !bytes.is_empty() {
            self.settle();
            if let Some(writer) = &mut self.writer {
                writer.literal(bytes);
            }
        }
        Ok(n)
    }
}

/// A recipe whose tar was read to its end.
pub struct Unsigned<'a>(Writer<'a>);

impl Unsigned<'_> {
    /// Writes what is left of it.
    pub fn sign(self, header: Header) -> io::Result<()> {
        self.0.finish(&header)
    }
}

struct Writer<'a> {
    file: &'a File,
    /// `Err`: it failed, and nothing more is written.
    encoder: io::Result<Encoder<'static, &'a File>>,
    /// Bytes that wait for the run behind them.
    literal: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(file: &'a File) -> Self {
        Self { file, encoder: begin(file), literal: Vec::with_capacity(MAX_LITERAL) }
    }

    fn literal(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.literal.len() == MAX_LITERAL {
                self.run(0, 0);
            }
            let (now, later) = bytes.split_at(bytes.len().min(MAX_LITERAL - self.literal.len()));
            self.literal.extend_from_slice(now);
            bytes = later;
        }
    }

    /// A piece: what was gathered, and a run behind it.
    fn run(&mut self, offset: u64, length: u64) {
        let Ok(encoder) = &mut self.encoder else { return };
        let literal = u32::try_from(self.literal.len()).unwrap_or(0);
        let piece = Piece { literal, offset, length };
        let written = encoder.write_all(&piece.encode()).and_then(|()| encoder.write_all(&self.literal));
        if let Err(error) = written {
            self.encoder = Err(error);
        }
        self.literal.clear();
    }

    fn finish(mut self, header: &Header) -> io::Result<()> {
        if !self.literal.is_empty() {
            self.run(0, 0);
        }
        self.encoder?.finish()?;
        self.file.write_all_at(&header.encode(), 0)
    }
}

fn begin(mut file: &File) -> io::Result<Encoder<'static, &File>> {
    file.write_all(&[0; Header::SIZE])?;
    let mut encoder = Encoder::new(file, LEVEL)?;
    encoder.window_log(WINDOW_LOG)?;
    Ok(encoder)
}
