//! Data behind a reply: pieces of a little-endian u32 and that many bytes, a zero, and then one more
//! [`Reply`] that says whether that was all. A stream without it has failed.

use std::io::{self, Read};

use super::{CallError, FrameError, Outcome, Reply, read_frame};

/// Largest piece either side accepts.
pub const MAX_PIECE: usize = 1 << 20;
/// Characters of a refusal that are kept.
const MAX_MESSAGE: usize = 2000;

#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("Piece of {0} bytes exceeds the limit of {MAX_PIECE}")]
    TooLong(usize),
    #[error(transparent)]
    Refused(CallError),
    #[error("The data were cut off, or not followed by their outcome")]
    Cut(#[source] FrameError),
}

/// The data alone. Failures of the other side are told by [`DataError`] inside the last read's error.
pub struct DataReader<R> {
    inner: R,
    /// Of the piece at hand.
    left: usize,
    ended: bool,
}

impl<R: Read> DataReader<R> {
    pub fn new(inner: R) -> Self {
        DataReader { inner, left: 0, ended: false }
    }

    fn next_piece(&mut self) -> io::Result<()> {
        let mut header = [0; 4];
        self.inner.read_exact(&mut header).map_err(|error| invalid(DataError::Cut(error.into())))?;
        let length = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
        if length > MAX_PIECE {
            return Err(invalid(DataError::TooLong(length)));
        }
        self.left = length;
        self.ended = length == 0;
        if !self.ended {
            return Ok(());
        }
        match read_frame::<Reply>(&mut self.inner) {
            Ok(Reply::Ok(Outcome::Done)) => Ok(()),
            Ok(Reply::Ok(_)) => Err(io::ErrorKind::InvalidData.into()),
            Ok(Reply::Error(mut error)) => {
                error.message = error.message.chars().take(MAX_MESSAGE).collect();
                Err(invalid(DataError::Refused(error)))
            }
            Err(error) => Err(invalid(DataError::Cut(error))),
        }
    }
}

fn invalid(error: DataError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<R: Read> Read for DataReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended && !buffer.is_empty() {
            self.next_piece()?;
        }
        let most = buffer.len().min(self.left);
        if most == 0 {
            return Ok(0);
        }
        let read = self.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
        if read == 0 {
            return Err(invalid(DataError::Cut(FrameError::Io(io::ErrorKind::UnexpectedEof.into()))));
        }
        self.left -= read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ErrorKind, write_frame};

    fn wire(pieces: &[&[u8]], outcome: Option<Reply>) -> Vec<u8> {
        let mut wire = Vec::new();
        for piece in pieces {
            wire.extend(u32::try_from(piece.len()).unwrap().to_le_bytes());
            wire.extend_from_slice(piece);
        }
        if let Some(outcome) = outcome {
            wire.extend([0; 4]);
            write_frame(&mut wire, &outcome).unwrap();
        }
        wire
    }

    fn read(wire: &[u8]) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        DataReader::new(wire).read_to_end(&mut data).map(|_| data)
    }

    #[test]
    fn pieces_are_joined_up_to_their_outcome() {
        let done = Reply::Ok(Outcome::Done);
        assert_eq!(read(&wire(&[b"one", b"two"], Some(done.clone()))).unwrap(), b"onetwo");
        assert_eq!(read(&wire(&[], Some(done))).unwrap(), b"");
    }

    #[test]
    fn data_without_a_good_outcome_have_failed() {
        assert!(read(&wire(&[b"one"], None)).is_err());
        let message = "Failed to read the file x".to_owned();
        let error = |message: &str| CallError { kind: ErrorKind::Setup, message: message.to_owned() };
        let told = |message: &str| {
            read(&wire(&[b"one"], Some(Reply::Error(error(message))))).unwrap_err().to_string()
        };
        assert_eq!(told(&message), message);
        assert_eq!(told(&"x".repeat(100_000)).len(), MAX_MESSAGE);
        assert!(read(&[]).unwrap_err().to_string().contains("cut off"));
        let long = u32::try_from(MAX_PIECE + 1).unwrap().to_le_bytes();
        assert!(read(&long).unwrap_err().to_string().contains("exceeds the limit"));
        assert!(read(&[9, 0, 0, 0, 1]).unwrap_err().to_string().contains("cut off"));
    }
}
