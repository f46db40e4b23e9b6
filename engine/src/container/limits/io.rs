//! `--device-read-bps` and its three siblings: `PATH:RATE`.

use std::fmt;
use std::os::unix::fs::FileTypeExt;

use hull_guest::protocol::{IoLimit, Text};

use super::LimitError;
use crate::container::size;

/// What is bounded; the end of the option's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    ReadBps,
    WriteBps,
    ReadIops,
    WriteIops,
}

impl Bound {
    fn counts_bytes(self) -> bool {
        matches!(self, Bound::ReadBps | Bound::WriteBps)
    }

    /// What goes on the end of a refusal.
    pub fn units(self) -> &'static str {
        if self.counts_bytes() { " (b, k, m, g)" } else { "" }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::ReadBps => "read-bps",
            Bound::WriteBps => "write-bps",
            Bound::ReadIops => "read-iops",
            Bound::WriteIops => "write-iops",
        })
    }
}

/// One option, read.
#[derive(Debug, PartialEq, Eq)]
pub struct IoWord {
    bound: Bound,
    path: String,
    rate: u64,
}

impl IoWord {
    /// A rate for a block device that is there.
    pub fn parse(bound: Bound, word: &str) -> Result<IoWord, LimitError> {
        let read = IoWord::read(bound, word)?;
        let is_disk = std::fs::metadata(&read.path).is_ok_and(|data| data.file_type().is_block_device());
        if is_disk { Ok(read) } else { Err(LimitError::NoDevice { bound, path: read.path }) }
    }

    fn read(bound: Bound, word: &str) -> Result<IoWord, LimitError> {
        let refuse = || LimitError::Io { bound, word: word.to_string() };
        let (path, rate) = word.split_once(':').ok_or_else(refuse)?;
        let rate = if bound.counts_bytes() { size::parse(rate).ok() } else { rate.parse().ok() };
        match rate {
            Some(rate @ 1..) if path.starts_with("/dev/") => {
                Ok(IoWord { bound, path: path.to_string(), rate })
            }
            _ => Err(refuse()),
        }
    }
}

/// One limit a device, in the order in which they were first named. The last of two for the same counts.
pub fn merge(words: impl IntoIterator<Item = IoWord>) -> Vec<IoLimit> {
    let mut limits: Vec<IoLimit> = Vec::new();
    for word in words {
        let device = Text::from(word.path);
        let place = limits.iter().position(|limit| limit.device == device).unwrap_or_else(|| {
            let none = IoLimit { device, read_bps: None, write_bps: None, read_iops: None, write_iops: None };
            limits.push(none);
            limits.len() - 1
        });
        let Some(limit) = limits.get_mut(place) else { continue };
        *match word.bound {
            Bound::ReadBps => &mut limit.read_bps,
            Bound::WriteBps => &mut limit.write_bps,
            Bound::ReadIops => &mut limit.read_iops,
            Bound::WriteIops => &mut limit.write_iops,
        } = Some(word.rate);
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units_and_requests_have_none() {
        let read = |bound, word| IoWord::read(bound, word).map(|read| read.rate);
        assert_eq!(read(Bound::ReadBps, "/dev/sda:1m"), Ok(1 << 20));
        assert_eq!(read(Bound::WriteIops, "/dev/sda:100"), Ok(100));
        for (bound, bad) in [
            (Bound::ReadBps, "1m"),
            (Bound::ReadBps, "sda:1m"),
            (Bound::ReadBps, "/dev/sda:x"),
            (Bound::ReadBps, "/dev/sda:0"),
            (Bound::ReadIops, "/dev/sda:1m"),
            (Bound::WriteIops, "/dev/sda:-1"),
        ] {
            assert!(matches!(read(bound, bad), Err(LimitError::Io { .. })), "{bad}");
        }
        // What is there and no disk.
        assert!(matches!(IoWord::parse(Bound::ReadBps, "/dev/null:1m"), Err(LimitError::NoDevice { .. })));
    }

    #[test]
    fn a_device_has_one_limit_of_each_kind() {
        let words = [
            IoWord { bound: Bound::ReadBps, path: "/dev/a".into(), rate: 1 },
            IoWord { bound: Bound::WriteIops, path: "/dev/b".into(), rate: 2 },
            IoWord { bound: Bound::WriteBps, path: "/dev/a".into(), rate: 3 },
            IoWord { bound: Bound::ReadBps, path: "/dev/a".into(), rate: 4 },
        ];
        let limits = merge(words);
        assert_eq!(limits.len(), 2);
        assert_eq!((limits[0].read_bps, limits[0].write_bps, limits[0].read_iops), (Some(4), Some(3), None));
        assert_eq!((limits[1].device.clone(), limits[1].write_iops), ("/dev/b".into(), Some(2)));
    }
}
