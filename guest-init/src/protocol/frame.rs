//! Length-prefixed JSON: a little-endian u32, then that many bytes.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

/// Largest frame either side accepts. A container's environment and arguments fit with room to
/// spare: the kernel's own limit for them is 2 MiB (execve(2)).
pub const MAX_FRAME: usize = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("Frame of {0} bytes exceeds the limit of {MAX_FRAME}")]
    TooLong(usize),
    #[error("Failed to read or write a frame")]
    Io(#[from] io::Error),
    #[error("Frame is not the JSON expected")]
    Json(#[from] serde_json::Error),
}

/// The length in a frame's header, checked before anyone allocates.
pub fn decode_len(header: [u8; 4]) -> Result<usize, FrameError> {
    let len = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
    if len > MAX_FRAME { Err(FrameError::TooLong(len)) } else { Ok(len) }
}

/// Writes `value` as one frame, in one write where the socket takes it.
pub fn write_frame<T: Serialize>(out: &mut impl Write, value: &T) -> Result<(), FrameError> {
    let mut bytes = vec![0u8; 4];
    serde_json::to_writer(&mut bytes, value)?;
    let len = bytes.len() - 4;
    if len > MAX_FRAME {
        return Err(FrameError::TooLong(len));
    }
    let header = u32::try_from(len).map_err(|_| FrameError::TooLong(len))?.to_le_bytes();
    bytes.iter_mut().zip(header).for_each(|(slot, byte)| *slot = byte);
    out.write_all(&bytes)?;
    Ok(())
}

/// Reads one frame and not a byte more, so that a stream may follow.
pub fn read_frame<T: DeserializeOwned>(input: &mut impl Read) -> Result<T, FrameError> {
    let mut header = [0u8; 4];
    input.read_exact(&mut header)?;
    let mut body = vec![0u8; decode_len(header)?];
    input.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_survives_a_round_trip_and_leaves_the_stream_behind_it() {
        let mut wire = Vec::new();
        write_frame(&mut wire, &"hello").unwrap();
        wire.extend_from_slice(b"stream");
        let mut input = wire.as_slice();
        let word: String = read_frame(&mut input).unwrap();
        assert_eq!((word.as_str(), input), ("hello", b"stream".as_slice()));
    }

    #[test]
    fn frame_above_the_cap_is_refused_before_it_is_read() {
        let header = u32::try_from(MAX_FRAME + 1).unwrap().to_le_bytes();
        let got = read_frame::<String>(&mut header.as_slice());
        assert!(matches!(got, Err(FrameError::TooLong(n)) if n == MAX_FRAME + 1));
    }
}
