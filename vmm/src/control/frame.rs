//! Frames: a little-endian `u32` of the length, then that many bytes of JSON.

use serde::Serialize;

/// Bytes of JSON in one frame. A full disk of segments takes about 100 KiB.
pub const MAX_FRAME: usize = 256 << 10;
/// Bytes of the length before it.
pub const PREFIX: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes is longer than {MAX_FRAME}")]
    TooLong(usize),
    #[error("Failed to write a message as JSON")]
    Encode(#[source] serde_json::Error),
}

/// A message as bytes of the stream.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; PREFIX];
    serde_json::to_writer(&mut bytes, message).map_err(FrameError::Encode)?;
    let body = bytes.len() - PREFIX;
    let length = u32::try_from(body).ok().filter(|_| body <= MAX_FRAME).ok_or(FrameError::TooLong(body))?;
    bytes[..PREFIX].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// The length that a prefix announces, checked before anything is allocated for it.
pub fn body_length(prefix: [u8; PREFIX]) -> Result<usize, FrameError> {
    let length = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
    if length > MAX_FRAME { Err(FrameError::TooLong(length)) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_comes_first_and_is_capped() {
        let bytes = encode(&"ab").unwrap();
        assert_eq!(bytes, b"\x04\0\0\0\"ab\"");
        assert_eq!(body_length([4, 0, 0, 0]).unwrap(), 4);
        assert!(body_length([0xff; 4]).is_err());
        assert!(encode(&"x".repeat(MAX_FRAME)).is_err());
    }
}
