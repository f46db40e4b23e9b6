//! One 512-byte header block: POSIX.1-1988 (v7, ustar) and GNU (tar's manual, "Basic Tar Format").

use super::TarError;

/// Offset and length of a sparse file's fragments, as a header says them.
pub type RawMap = Vec<(i64, i64)>;

pub const BLOCK: usize = 512;
/// [`BLOCK`] where sizes are counted.
pub const BLOCK_BYTES: u64 = 512;

/// A header whose checksum is right. Fields are read out of it at fixed places.
#[derive(Clone)]
pub struct Header([u8; BLOCK]);

/// What `magic` says about how to read the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    V7,
    Ustar,
    Gnu,
}

impl Header {
    /// `None` for a block of zeros, which ends the archive.
    pub fn parse(block: [u8; BLOCK]) -> Result<Option<Self>, TarError> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Self(block);
        let stated = header.octal(148, 8).ok_or(TarError::NotTar)?;
        // The checksum field counts as spaces; old tars summed signed bytes.
        let outside =
            || block.iter().enumerate().filter(|(at, _)| !(148..156).contains(at)).map(|(_, byte)| *byte);
        let unsigned: i64 = outside().map(i64::from).sum::<i64>() + 8 * 32;
        let signed: i64 = outside().map(|byte| i64::from(i8::from_ne_bytes([byte]))).sum::<i64>() + 8 * 32;
        if stated != unsigned && stated != signed {
            return Err(TarError::NotTar);
        }
        Ok(Some(header))
    }

    fn field(&self, at: usize, len: usize) -> &[u8] {
        self.0.get(at..at + len).unwrap_or_default()
    }

    /// A text field: up to its NUL, or all of it.
    fn text(&self, at: usize, len: usize) -> &[u8] {
        let field = self.field(at, len);
        field.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    pub fn flavour(&self) -> Flavour {
        match self.field(257, 8) {
            b"ustar  \0" => Flavour::Gnu,
            [b'u', b's', b't', b'a', b'r', ..] => Flavour::Ustar,
            _ => Flavour::V7,
        }
    }

    pub fn kind(&self) -> u8 {
        self.field(156, 1).first().copied().unwrap_or(0)
    }

    /// The name, with ustar's prefix before it.
    pub fn name(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        match self.flavour() {
            Flavour::Ustar if !self.text(345, 155).is_empty() => [self.text(345, 155), b"/", name].concat(),
            _ => name.to_vec(),
        }
    }

    pub fn link(&self) -> Vec<u8> {
        self.text(157, 100).to_vec()
    }

    pub fn mode(&self) -> Result<i64, TarError> {
        self.number("mode", 100, 8)
    }

    pub fn uid(&self) -> Result<i64, TarError> {
        self.number("uid", 108, 8)
    }

    pub fn gid(&self) -> Result<i64, TarError> {
        self.number("gid", 116, 8)
    }

    pub fn size(&self) -> Result<i64, TarError> {
        self.number("size", 124, 12)
    }

    pub fn mtime(&self) -> Result<i64, TarError> {
        self.number("mtime", 136, 12)
    }

    /// Major and minor number of a device; v7 has none.
    pub fn device(&self) -> Result<(i64, i64), TarError> {
        match self.flavour() {
            Flavour::V7 => Ok((0, 0)),
            _ => Ok((self.number("devmajor", 329, 8)?, self.number("devminor", 337, 8)?)),
        }
    }

    /// GNU's four sparse fragments (offset, length), whether more follow in blocks of their own, and
    /// the size with the holes.
    pub fn old_sparse(&self) -> Result<(RawMap, bool, i64), TarError> {
        let extended = self.field(482, 1) != [0];
        Ok((sparse_fields(&self.0, 386, 4)?, extended, self.number("sparse size", 483, 12)?))
    }

    fn number(&self, field: &'static str, at: usize, len: usize) -> Result<i64, TarError> {
        parse_number(self.field(at, len)).ok_or(TarError::Number(field))
    }

    fn octal(&self, at: usize, len: usize) -> Option<i64> {
        parse_octal(self.field(at, len))
    }
}

/// A block that continues a GNU sparse header: 21 fragments and whether another follows.
pub fn sparse_extension(block: &[u8; BLOCK]) -> Result<(RawMap, bool), TarError> {
    Ok((sparse_fields(block, 0, 21)?, block.get(504).is_some_and(|flag| *flag != 0)))
}

fn sparse_fields(block: &[u8; BLOCK], at: usize, count: usize) -> Result<RawMap, TarError> {
    let fields = block.get(at..at + 24 * count).unwrap_or_default();
    let used = fields.chunks_exact(24).take_while(|field| field.first() != Some(&0));
    used.map(|field| {
        let (offset, length) = field.split_at(12);
        parse_number(offset).zip(parse_number(length)).ok_or(TarError::Number("sparse map"))
    })
    .collect()
}

/// Octal text, or GNU's base 256: first bit set, the rest a big-endian two's complement number.
fn parse_number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 == 0 {
        return parse_octal(field);
    }
    let negative = first & 0x40 != 0;
    let start = if negative { i128::from(*first) - 256 } else { i128::from(first & 0x3f) };
    // 11 bytes behind the first are 88 bits at most, so i128 holds every value.
    let value = rest.iter().fold(start, |value, byte| (value << 8) | i128::from(*byte));
    i64::try_from(value).ok()
}

fn parse_octal(field: &[u8]) -> Option<i64> {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    // Some writers leave a field empty where it means nothing.
    text.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256_with_sign() {
        assert_eq!(parse_number(b"0000644\0"), Some(0o644));
        assert_eq!(parse_number(b"   755 \0"), Some(0o755));
        assert_eq!(parse_number(b"\0\0\0\0"), Some(0));
        assert_eq!(parse_number(&[0x80, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0]), Some(3 << 32));
        assert_eq!(parse_number(&[0xff; 12]), Some(-1));
        assert_eq!(parse_number(b"12x4\0"), None);
        assert_eq!(parse_number(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]), None);
    }

    #[test]
    fn a_block_without_a_right_checksum_is_no_header() {
        assert!(matches!(Header::parse([b'x'; BLOCK]), Err(TarError::NotTar)));
        assert!(Header::parse([0; BLOCK]).unwrap().is_none());
    }
}
