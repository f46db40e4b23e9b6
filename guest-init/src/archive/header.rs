//! Headers of a tar archive as POSIX has them ("pax Interchange Format"): a ustar header, with records
//! before it for what does not fit.

use std::fmt::Write as _;

/// Everything in an archive is a multiple of this.
pub const BLOCK: usize = 512;
/// The largest numbers that a header's octal fields hold: 7 and 11 digits.
const MAX_SHORT: u64 = 0o7_777_777;
const MAX_LONG: u64 = 0o77_777_777_777;
/// Room for a path or a link's target in a header.
const MAX_NAME: usize = 100;

/// What an entry is, as headers say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File = b'0' as isize,
    HardLink = b'1' as isize,
    Symlink = b'2' as isize,
    CharDevice = b'3' as isize,
    BlockDevice = b'4' as isize,
    Directory = b'5' as isize,
    Fifo = b'6' as isize,
}

/// One entry. Names may be of any bytes but NUL.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub kind: Kind,
    /// Relative; a directory's ends with a slash.
    pub path: &'a [u8],
    /// What a link leads to.
    pub link: &'a [u8],
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes that follow the header.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Major and minor number.
    pub device: (u32, u32),
    /// Extended attributes. Those whose names a record cannot have are left out.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl Entry<'_> {
    /// A file of root's without anything special, from 1970.
    pub fn file(path: &[u8], size: u64) -> Entry<'_> {
        Entry {
            kind: Kind::File,
            path,
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            mtime: 0,
            device: (0, 0),
            xattrs: &[],
        }
    }

    /// Likewise a directory.
    pub fn directory(path: &[u8]) -> Entry<'_> {
        Entry { kind: Kind::Directory, mode: 0o755, ..Entry::file(path, 0) }
    }

    /// The blocks that stand before the entry's data.
    pub fn encode(&self) -> Vec<u8> {
        let records = self.records();
        let mut blocks = Vec::with_capacity(BLOCK);
        if !records.is_empty() {
            let head = Entry { kind: Kind::File, ..Entry::file(b"PaxHeaders/entry", records.len() as u64) };
            blocks.extend(head.block(b'x'));
            blocks.extend_from_slice(&records);
            blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
        }
        blocks.extend(self.block(self.kind as u8));
        blocks
    }

    /// What the header has no room for.
    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        let mut number = |key: &str, value: u64, most: u64| {
            if value > most {
                record(&mut records, key.as_bytes(), value.to_string().as_bytes());
            }
        };
        number("uid", self.uid.into(), MAX_SHORT);
        number("gid", self.gid.into(), MAX_SHORT);
        number("size", self.size, MAX_LONG);
        if u64::try_from(self.mtime).map_or(true, |mtime| mtime > MAX_LONG) {
            record(&mut records, b"mtime", self.mtime.to_string().as_bytes());
        }
        for (key, text) in [(&b"path"[..], self.path), (b"linkpath", self.link)] {
            // Readers take a header's text for whatever they like; a record's is UTF-8 or bytes.
            if text.len() > MAX_NAME || !text.is_ascii() {
                record(&mut records, key, text);
            }
        }
        for (name, value) in self.xattrs.iter().filter(|(name, _)| !name.contains(&b'=')) {
            record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        records
    }

    fn block(&self, kind: u8) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put(&mut block, 0, &self.path[..self.path.len().min(MAX_NAME)]);
        octal(&mut block, 100, 7, (self.mode & 0o7777).into());
        octal(&mut block, 108, 7, self.uid.into());
        octal(&mut block, 116, 7, self.gid.into());
        octal(&mut block, 124, 11, self.size);
        octal(&mut block, 136, 11, u64::try_from(self.mtime).unwrap_or(0));
        block[156] = kind;
        put(&mut block, 157, &self.link[..self.link.len().min(MAX_NAME)]);
        put(&mut block, 257, b"ustar\x0000");
        octal(&mut block, 329, 7, self.device.0.into());
        octal(&mut block, 337, 7, self.device.1.into());
        // The checksum's own field counts as spaces.
        put(&mut block, 148, b"        ");
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut block, 148, 6, sum);
        block[154] = 0;
        block
    }
}

/// Zeros that fill up the last block of `size` bytes of data.
pub fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let rest = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    ZEROS.get(..(BLOCK - rest) % BLOCK).unwrap_or_default()
}

/// What an archive ends with.
pub fn end() -> [u8; 2 * BLOCK] {
    [0; 2 * BLOCK]
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    for (place, byte) in block.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

/// A number with leading zeros; one that is too large has its record, and is all sevens here.
fn octal(block: &mut [u8; BLOCK], at: usize, digits: usize, value: u64) {
    let most = (1_u64 << (3 * digits)) - 1;
    let mut text = String::new();
    let _ = write!(text, "{:0digits$o}", value.min(most));
    put(block, at, text.as_bytes());
}

/// `length key=value\n`, where the length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + digits(length) {
        length = rest + digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_entry_is_one_block_with_its_checksum() {
        let block = Entry::file(b"a/file", 5).encode();
        assert_eq!(block.len(), BLOCK);
        assert_eq!((&block[..7], &block[124..136]), (&b"a/file\0"[..], &b"00000000005\0"[..]));
        assert_eq!(&block[257..265], b"ustar\x0000");
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        assert_eq!(block[148..156], *format!("{sum:06o}\0 ").as_bytes());
    }

    #[test]
    fn what_does_not_fit_is_said_in_records() {
        let path = "ä".repeat(60);
        let entry = Entry {
            uid: 3_000_000,
            mtime: -5,
            size: 1 << 40,
            xattrs: &[(b"user.a".to_vec(), b"1\n2".to_vec()), (b"user.b=c".to_vec(), b"x".to_vec())],
            ..Entry::file(path.as_bytes(), 0)
        };
        let blocks = entry.encode();
        assert_eq!((blocks[156], blocks.len() % BLOCK), (b'x', 0));
        let records = String::from_utf8_lossy(&blocks[BLOCK..blocks.len() - BLOCK]).to_string();
        let expected = format!(
            "15 uid=3000000\n22 size=1099511627776\n12 mtime=-5\n130 path={path}\n27 SCHILY.xattr.user.a=1\n2\n"
        );
        assert_eq!(records.trim_end_matches('\0'), expected);
    }

    #[test]
    fn a_records_length_counts_its_own_digits() {
        for value in 80..110 {
            let mut records = Vec::new();
            record(&mut records, b"key", &vec![b'v'; value]);
            let said: usize = String::from_utf8_lossy(&records).split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, records.len());
        }
    }

    #[test]
    fn data_are_padded_to_whole_blocks() {
        assert_eq!([0, 1, 511, 512, 513].map(|size| padding(size).len()), [0, 511, 1, 0, 511]);
    }
}
