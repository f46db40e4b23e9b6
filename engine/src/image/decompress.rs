//! Compressed streams, told by their first bytes.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// Memory that a zstd stream may ask for as window: 128 MiB, as `zstd -d` allows.
const ZSTD_WINDOW_LOG: u32 = 27;
const BUFFER: usize = 256 * 1024;
/// Bytes that tell a compression.
const MAGIC: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// The compression that a stream's beginning shows. Forms that are known and not supported are named,
/// rather than taken for a damaged tar.
pub fn detect(start: &[u8]) -> Result<Compression, &'static str> {
    match start {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
        // A skippable frame may come first (RFC 8878, 3.1.2).
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [b'B', b'Z', b'h', ..] => Err("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Err("xz"),
        _ => Ok(Compression::None),
    }
}

/// Reads a stream's first bytes to tell its compression, and gives them back before the rest.
pub fn tell<R: Read>(mut stream: R) -> io::Result<(Compression, impl Read + use<R>)> {
    let mut head = Vec::with_capacity(MAGIC);
    (&mut stream).take(MAGIC as u64).read_to_end(&mut head)?;
    let compression = detect(&head).map_err(|name| {
        io::Error::new(io::ErrorKind::Unsupported, format!("{name} compression is not supported"))
    })?;
    Ok((compression, io::Cursor::new(head).chain(stream)))
}

/// The stream without its compression. All gzip members and zstd frames are read, one behind the
/// other; anything else behind them is an error.
pub fn decoder<'a>(
    compression: Compression,
    stream: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let stream = || BufReader::with_capacity(BUFFER, stream);
    Ok(match compression {
        Compression::None => Box::new(stream()),
        Compression::Gzip => Box::new(MultiGzDecoder::new(stream())),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(stream())?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

/// [`tell`] and [`decoder`] in one.
pub fn open<'a>(stream: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let (compression, stream) = tell(stream)?;
    decoder(compression, stream)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression as Level;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(stream: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        open(stream)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn each_form_is_told_by_its_magic() {
        assert_eq!(read(b"plain").unwrap(), b"plain");
        assert_eq!(read(b"").unwrap(), b"");
        assert_eq!(read(&gzip(b"text")).unwrap(), b"text");
        assert_eq!(read(&zstd::encode_all(&b"text"[..], 1).unwrap()).unwrap(), b"text");
        assert!(read(b"BZh91AY").unwrap_err().to_string().contains("bzip2"));
    }

    #[test]
    fn members_and_frames_are_joined() {
        assert_eq!(read(&[gzip(b"one"), gzip(b"two")].concat()).unwrap(), b"onetwo");
        let frames: Vec<_> =
            [&b"one"[..], b"two"].iter().flat_map(|text| zstd::encode_all(*text, 1).unwrap()).collect();
        assert_eq!(read(&frames).unwrap(), b"onetwo");
    }

    #[test]
    fn garbage_behind_a_stream_and_a_cut_stream_are_errors() {
        assert!(read(&[gzip(b"one"), b"garbage".to_vec()].concat()).is_err());
        let whole = gzip(&[7; 5000]);
        assert!(read(&whole[..whole.len() - 4]).is_err());
        let whole = zstd::encode_all(&[7; 5000][..], 1).unwrap();
        assert!(read(&whole[..whole.len() - 4]).is_err());
    }

    /// A frame of one stored byte that asks for a window of 2^`log` bytes (RFC 8878, 3.1.1.1.2).
    fn frame(log: u8) -> Vec<u8> {
        [&[0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3][..], &[0x09, 0, 0, b'x']].concat()
    }

    #[test]
    fn zstd_windows_are_as_large_as_the_programs_takes_and_no_larger() {
        assert_eq!(read(&frame(27)).unwrap(), b"x");
        for log in 28..=41 {
            assert!(read(&frame(log)).is_err(), "{log}");
        }
    }

    #[test]
    fn skippable_frames_are_skipped_wherever_they_are() {
        let skipped = |bytes: u32| [&[0x5a, 0x2a, 0x4d, 0x18][..], &bytes.to_le_bytes(), b"skip"].concat();
        let stream = [skipped(4), frame(20), skipped(4), frame(20), skipped(4)].concat();
        assert_eq!(read(&stream).unwrap(), b"xx");
        assert!(read(&skipped(u32::MAX)).is_err());
        assert!(read(&[frame(20), b"garbage".to_vec()].concat()).is_err());
    }

    #[test]
    fn a_stream_of_nothing_but_empty_members_ends() {
        assert_eq!(read(&gzip(b"").repeat(20_000)).unwrap(), b"");
    }
}
