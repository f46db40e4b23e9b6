//! A reader's work on a thread of its own: decompression runs beside what is done with its output.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

/// Bytes handed over at a time, and how many such pieces may wait.
const PIECE: usize = 256 * 1024;
const WAITING: usize = 4;

/// Runs `work` on a thread of `scope`; what it pumps into its [`Sink`] is what the reader gives.
pub fn spawn<'scope, T>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce(Sink) -> T + Send + 'scope,
) -> (PipeReader, ScopedJoinHandle<'scope, T>)
where
    T: Send + 'scope,
{
    let (pieces, incoming) = sync_channel(WAITING);
    let (empties, returned) = sync_channel(WAITING + 2);
    let thread = scope.spawn(move || work(Sink { pieces, returned }));
    (PipeReader { incoming, empties, piece: Vec::new(), used: 0, ended: false }, thread)
}

/// The sending end. Dropped, it ends the stream.
pub struct Sink {
    pieces: SyncSender<io::Result<Vec<u8>>>,
    returned: Receiver<Vec<u8>>,
}

impl Sink {
    /// Sends all that `source` gives, and its failure. Stops when the reader is gone.
    pub fn pump(&self, source: &mut impl Read) {
        loop {
            let mut piece = self.returned.try_recv().unwrap_or_default();
            piece.resize(PIECE, 0);
            let outcome = read_full(source, &mut piece);
            let last = !matches!(outcome, Ok(n) if n > 0);
            let message = outcome.map(|n| {
                piece.truncate(n);
                piece
            });
            if self.pieces.send(message).is_err() || last {
                return;
            }
        }
    }

    pub fn fail(&self, error: io::Error) {
        let _ = self.pieces.send(Err(error));
    }
}

/// Fills the buffer unless the source ends before.
fn read_full(source: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buf.get_mut(filled..).filter(|room| !room.is_empty()) {
        match source.read(room) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The receiving end.
pub struct PipeReader {
    incoming: Receiver<io::Result<Vec<u8>>>,
    empties: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    used: usize,
    ended: bool,
}

impl PipeReader {
    /// What is at hand, waiting for more if there is nothing. Empty at the end.
    pub fn available(&mut self) -> io::Result<&[u8]> {
        if self.used >= self.piece.len() && !self.ended {
            let empty = std::mem::take(&mut self.piece);
            self.used = 0;
            // The thread may have ended; then nobody needs the buffer.
            let _ = self.empties.try_send(empty);
            match self.incoming.recv() {
                Ok(Ok(piece)) => {
                    self.ended = piece.is_empty();
                    self.piece = piece;
                }
                Ok(Err(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                Err(_) => self.ended = true,
            }
        }
        Ok(self.piece.get(self.used..).unwrap_or_default())
    }

    pub fn consume(&mut self, n: usize) {
        self.used += n;
    }
}

impl Read for PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut available = self.available()?;
        let n = available.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_come_through_and_the_source_comes_back() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        std::thread::scope(|scope| {
            let mut source = io::Cursor::new(&bytes);
            let (mut reader, thread) = spawn(scope, move |sink| {
                sink.pump(&mut source);
                source.position()
            });
            let mut out = Vec::new();
            reader.read_to_end(&mut out).unwrap();
            assert!(out == bytes);
            assert_eq!(thread.join().unwrap(), 1_000_000);
        });
    }

    #[test]
    fn a_reader_that_gives_up_ends_the_thread() {
        std::thread::scope(|scope| {
            let (reader, thread) = spawn(scope, |sink| sink.pump(&mut io::repeat(1)));
            drop(reader);
            thread.join().unwrap();
        });
    }

    #[test]
    fn a_failing_source_is_reported_after_what_it_gave() {
        struct Fails(u8);
        impl Read for Fails {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 > 1 {
                    return Err(io::Error::other("broken"));
                }
                buf[0] = 1;
                Ok(1)
            }
        }
        std::thread::scope(|scope| {
            let (mut reader, _) = spawn(scope, |sink| sink.pump(&mut Fails(0)));
            assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap_err().to_string(), "broken");
        });
    }
}
