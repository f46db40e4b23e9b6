//! From blocks to entries.

use std::io::{self, Read};

use super::header::{self, BLOCK, BLOCK_BYTES, Flavour, Header};
use super::pax::{self, Overrides};
use super::sparse::{self, MAX_FRAGMENTS, MapPlace, PaxSparse};
use super::{MAX_EXTENDED, Member, MemberKind, TarError};

/// Reads a tar archive from front to back.
pub struct TarReader<R> {
    inner: R,
    /// Data of the current entry that were not read yet.
    remaining: u64,
    /// Zeros behind them, up to the block's end.
    padding: u64,
    ended: bool,
}

/// What the headers before an entry's own say.
#[derive(Default)]
struct Preceding {
    pax: Option<Overrides>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, remaining: 0, padding: 0, ended: false }
    }

    /// The next entry; what was not read of the one before is skipped.
    pub fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        let mut preceding = Preceding::default();
        let mut anything = false;
        while !self.ended {
            self.skip_data()?;
            let Some(header) = self.read_header()? else { break };
            let size = u64::try_from(header.size()?).map_err(|_| TarError::Number("size"))?;
            match header.kind() {
                b'x' | b'X' => preceding.pax = Some(pax::parse(&self.read_extended(size)?)?),
                b'L' => preceding.long_name = Some(until_nul(self.read_extended(size)?)),
                b'K' => preceding.long_link = Some(until_nul(self.read_extended(size)?)),
                // Global headers, volume labels and old long names change nothing here.
                b'g' | b'V' | b'N' => self.expect_data(size),
                _ => return self.member(&header, size, preceding).map(Some),
            }
            anything = matches!(header.kind(), b'x' | b'X' | b'L' | b'K');
        }
        // An extended header announces an entry.
        if anything { Err(TarError::Truncated) } else { Ok(None) }
    }

    /// Bytes of the current entry as they are stored: a sparse file's runs one behind the other.
    pub fn read_data(&mut self, buf: &mut [u8]) -> Result<usize, TarError> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buf.len());
        if wanted == 0 {
            return Ok(0);
        }
        let n = self.read_some(buf.get_mut(..wanted).unwrap_or_default())?;
        if n == 0 {
            return Err(TarError::Truncated);
        }
        self.remaining -= n as u64;
        Ok(n)
    }

    /// Reads the current entry's data into memory, if they are no more than `cap`.
    pub fn read_all(&mut self, cap: u64) -> Result<Option<Vec<u8>>, TarError> {
        if self.remaining > cap {
            return Ok(None);
        }
        let mut data = Vec::new();
        let mut chunk = [0; 8192];
        loop {
            match self.read_data(&mut chunk)? {
                0 => return Ok(Some(data)),
                n => data.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            }
        }
    }

    /// The stream below, which must not be read from.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Gives the stream back; what follows the archive's end in it was not read.
    pub fn into_inner(self) -> R {
        self.inner
    }

    fn member(&mut self, header: &Header, size: u64, preceding: Preceding) -> Result<Member, TarError> {
        let pax = preceding.pax.unwrap_or_default();
        let stored = pax.size.unwrap_or(size);
        let path =
            preceding.long_name.or(pax.sparse.name.clone()).or(pax.path).unwrap_or_else(|| header.name());
        let kind = member_kind(header, &path)?;
        let has_data = matches!(header.kind(), 0 | b'0' | b'7' | b'S' | b'D');
        // Links and the like may state a size; nothing follows them. (As GNU tar and Go do it.)
        self.expect_data(if has_data { stored } else { 0 });
        let sparse = match kind {
            MemberKind::File => self.sparse_map(header, &pax.sparse)?,
            _ => None,
        };
        let (size, sparse) = match sparse {
            Some((size, map)) => (size, Some(sparse::check(&map, size, self.remaining)?)),
            None => (self.remaining, None),
        };
        let (mtime, mtime_nsec) = match pax.mtime {
            Some(mtime) => mtime,
            None => (header.mtime()?, 0),
        };
        let (major, minor) = match kind {
            MemberKind::CharDevice | MemberKind::BlockDevice => header.device()?,
            _ => (0, 0),
        };
        Ok(Member {
            path,
            kind,
            mode: u16::try_from(header.mode()? & 0o7777).unwrap_or(0),
            uid: id("uid", pax.uid, header.uid())?,
            gid: id("gid", pax.gid, header.gid())?,
            mtime,
            mtime_nsec,
            size,
            stored: self.remaining,
            link: preceding.long_link.or(pax.link).unwrap_or_else(|| header.link()),
            device: (
                u32::try_from(major).map_err(|_| TarError::Number("devmajor"))?,
                u32::try_from(minor).map_err(|_| TarError::Number("devminor"))?,
            ),
            xattrs: pax.xattrs,
            sparse,
        })
    }

    /// Size and fragments of a sparse file, from wherever its form keeps them.
    fn sparse_map(&mut self, header: &Header, pax: &PaxSparse) -> Result<Option<SparseMap>, TarError> {
        if header.kind() == b'S' {
            return self.old_sparse_map(header).map(Some);
        }
        let map = match pax.place()? {
            MapPlace::NotSparse => return Ok(None),
            MapPlace::InHeader(map) => map,
            MapPlace::InData => self.read_sparse_map()?,
        };
        let size = pax.size.ok_or(TarError::SparseMap)?;
        Ok(Some((size, map)))
    }

    fn old_sparse_map(&mut self, header: &Header) -> Result<SparseMap, TarError> {
        if header.flavour() != Flavour::Gnu {
            return Err(TarError::SparseMap);
        }
        let (mut map, mut more, size) = header.old_sparse()?;
        while more {
            let mut block = [0; BLOCK];
            self.read_exact(&mut block)?;
            let (further, again) = header::sparse_extension(&block)?;
            map.extend(further);
            if map.len() > MAX_FRAGMENTS {
                return Err(TarError::SparseMap);
            }
            more = again;
        }
        let size = u64::try_from(size).map_err(|_| TarError::SparseMap)?;
        Ok((size, map))
    }

    /// Form 1.0: decimal numbers, a line each, in whole blocks before the data: count, then offset and
    /// length of each fragment.
    fn read_sparse_map(&mut self) -> Result<header::RawMap, TarError> {
        let mut lines = Lines { reader: self, block: [0; BLOCK], used: BLOCK };
        let count = lines.number()?;
        if usize::try_from(count).map_or(true, |count| count > MAX_FRAGMENTS) {
            return Err(TarError::SparseMap);
        }
        (0..count).map(|_| Ok((lines.number()?, lines.number()?))).collect()
    }

    fn read_header(&mut self) -> Result<Option<Header>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.read_some(block.get_mut(filled..).unwrap_or_default())? {
                // Some writers leave out the zero blocks at the end.
                0 if filled == 0 => {
                    self.ended = true;
                    return Ok(None);
                }
                0 => return Err(TarError::Truncated),
                n => filled += n,
            }
        }
        let header = Header::parse(block)?;
        self.ended = header.is_none();
        Ok(header)
    }

    fn read_extended(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        self.expect_data(size);
        self.read_all(MAX_EXTENDED)?.ok_or(TarError::Extended(size))
    }

    fn expect_data(&mut self, size: u64) {
        self.remaining = size;
        self.padding = size.wrapping_neg() % BLOCK_BYTES;
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        let mut left = self.remaining.checked_add(self.padding).ok_or(TarError::Number("size"))?;
        (self.remaining, self.padding) = (0, 0);
        let mut scratch = [0; 8192];
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(scratch.len());
            match self.read_some(scratch.get_mut(..wanted).unwrap_or_default())? {
                0 => return Err(TarError::Truncated),
                n => left -= n as u64,
            }
        }
        Ok(())
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), TarError> {
        self.inner.read_exact(buf).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => TarError::Truncated,
            _ => TarError::Read(error),
        })
    }

    fn read_some(&mut self, buf: &mut [u8]) -> Result<usize, TarError> {
        loop {
            match self.inner.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome.map_err(TarError::Read),
            }
        }
    }
}

/// Size with holes, and the unchecked map.
type SparseMap = (u64, header::RawMap);

/// Numbers, a line each, in blocks that count as the entry's data.
struct Lines<'a, R> {
    reader: &'a mut TarReader<R>,
    block: [u8; BLOCK],
    used: usize,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> Result<i64, TarError> {
        let mut value = 0_i64;
        for digits in 0.. {
            match self.byte()? {
                b'\n' if digits > 0 => return Ok(value),
                digit @ b'0'..=b'9' => {
                    value = value
                        .checked_mul(10)
                        .and_then(|value| value.checked_add(i64::from(digit - b'0')))
                        .ok_or(TarError::SparseMap)?;
                }
                _ => break,
            }
        }
        Err(TarError::SparseMap)
    }

    fn byte(&mut self) -> Result<u8, TarError> {
        if self.used == BLOCK {
            self.reader.remaining =
                self.reader.remaining.checked_sub(BLOCK_BYTES).ok_or(TarError::SparseMap)?;
            self.reader.read_exact(&mut self.block)?;
            self.used = 0;
        }
        let byte = self.block.get(self.used).copied().ok_or(TarError::SparseMap)?;
        self.used += 1;
        Ok(byte)
    }
}

fn member_kind(header: &Header, path: &[u8]) -> Result<MemberKind, TarError> {
    Ok(match header.kind() {
        // Before POSIX, a name with a slash at its end was a directory.
        0 | b'0' if path.ends_with(b"/") => MemberKind::Directory,
        0 | b'0' | b'7' | b'S' => MemberKind::File,
        b'1' => MemberKind::HardLink,
        b'2' => MemberKind::Symlink,
        b'3' => MemberKind::CharDevice,
        b'4' => MemberKind::BlockDevice,
        b'5' | b'D' => MemberKind::Directory,
        b'6' => MemberKind::Fifo,
        other => return Err(TarError::Type(other)),
    })
}

fn id(field: &'static str, pax: Option<u64>, header: Result<i64, TarError>) -> Result<u32, TarError> {
    let value = match pax {
        Some(value) => u32::try_from(value).ok(),
        None => u32::try_from(header?).ok(),
    };
    // The last value means "no change" to chown(2); nobody can own a file by it.
    value.filter(|value| *value != u32::MAX).ok_or(TarError::Number(field))
}

fn until_nul(mut text: Vec<u8>) -> Vec<u8> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text.truncate(end);
    text
}
