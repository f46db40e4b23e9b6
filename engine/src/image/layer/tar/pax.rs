//! PAX extended headers (POSIX.1-2001, pax "Extended Header"), and what GNU and star put into them.

use super::TarError;
use super::sparse::PaxSparse;

/// What an extended header overrides for the entry behind it.
#[derive(Default)]
pub struct Overrides {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    /// Seconds and nanoseconds.
    pub mtime: Option<(i64, u32)>,
    /// Name and value, without star's prefix.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: PaxSparse,
}

/// Splits `<length> <key>=<value>\n` records; `length` counts the whole record.
pub fn parse(mut text: &[u8]) -> Result<Overrides, TarError> {
    let mut overrides = Overrides::default();
    while !text.is_empty() {
        let (record, rest) = split_record(text).ok_or(TarError::Pax)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(TarError::Pax)?;
        let (key, value) = (record.get(..equals), record.get(equals + 1..));
        overrides.set(key.unwrap_or_default(), value.unwrap_or_default())?;
        text = rest;
    }
    overrides.drop_repeated_xattrs();
    Ok(overrides)
}

fn split_record(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = text.iter().take(10).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(text.get(..space)?).ok()?.parse().ok()?;
    let (record, rest) = text.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    Some((record, rest))
}

impl Overrides {
    /// Later records win; an empty value takes an override back.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let bytes = || (!value.is_empty()).then(|| value.to_vec());
        let number = |field| match value {
            [] => Ok(None),
            _ => decimal(value).map(Some).ok_or(TarError::Number(field)),
        };
        match key {
            b"path" => self.path = bytes(),
            b"linkpath" => self.link = bytes(),
            b"size" => self.size = number("size")?,
            b"uid" => self.uid = number("uid")?,
            b"gid" => self.gid = number("gid")?,
            b"mtime" => {
                self.mtime = match value {
                    [] => None,
                    _ => Some(timestamp(value).ok_or(TarError::Number("mtime"))?),
                }
            }
            _ => match key.strip_prefix(b"SCHILY.xattr.") {
                // An empty value is a value here: "user.flag" may well be set to nothing.
                Some(name) => self.xattrs.push((name.to_vec(), value.to_vec())),
                None => self.sparse.set(key, value)?,
            },
        }
        Ok(())
    }

    /// Keeps the last of each name; by sorting, since a header has room for 50,000 of them.
    fn drop_repeated_xattrs(&mut self) {
        self.xattrs.reverse();
        self.xattrs.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.xattrs.dedup_by(|(a, _), (b, _)| a == b);
    }
}

pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `[-]seconds[.fraction]`, rounded down to nanoseconds. Seconds outside i64 are cut to its ends.
fn timestamp(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = parts.next()?;
    if whole.is_empty() || !whole.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = std::str::from_utf8(whole).ok()?.parse().unwrap_or(i64::MAX);
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanos = digits.fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_sign_and_fraction() {
        assert_eq!(timestamp(b"1350244992.023960108"), Some((1_350_244_992, 23_960_108)));
        assert_eq!(timestamp(b"-1.5"), Some((-2, 500_000_000)));
        assert_eq!(timestamp(b"-1"), Some((-1, 0)));
        assert_eq!(timestamp(b"7.1234567891"), Some((7, 123_456_789)));
        assert_eq!(timestamp(b"99999999999999999999"), Some((i64::MAX, 0)));
        for bad in [&b""[..], b".5", b"--1", b"1.x", b"1e3"] {
            assert_eq!(timestamp(bad), None);
        }
    }

    #[test]
    fn later_records_win_and_empty_ones_take_back() {
        let overrides = parse(b"10 path=a\n10 path=b\n9 size=5\n8 size=\n").unwrap_or_else(|_| {
            // "9 size=5\n" is 9 bytes long, "8 size=\n" 8.
            panic!("records are well formed")
        });
        assert_eq!(overrides.path.as_deref(), Some(&b"b"[..]));
        assert_eq!(overrides.size, None);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"9999 path=a\n"[..],
            b"x path=a\n",
            b"10 path=ab",
            b"7 path\n",
            b"0 \n",
            b" 5=a\n",
            b"99999999999 a=b\n",
        ] {
            assert!(parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
