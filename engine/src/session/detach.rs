//! The keys that leave a container to itself: `ctrl-p,ctrl-q` unless others are asked for.

/// Docker's.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--detach-keys \"{0}\": keys are letters, or ctrl- with one of a-z @ ^ [ , _, and commas between")]
pub struct BadKeys(String);

/// The bytes that a sequence like `ctrl-p,q` types.
pub fn parse(words: &str) -> Result<Vec<u8>, BadKeys> {
    let bad = || BadKeys(words.to_string());
    if words.is_empty() {
        return Ok(Vec::new());
    }
    // A comma may be a key itself: `ctrl-,`.
    let key = |word: &str| match word.strip_prefix("ctrl-") {
        Some(control) => match control.as_bytes() {
            [letter @ b'a'..=b'z'] => Ok(letter - b'a' + 1),
            b"@" => Ok(0),
            b"[" => Ok(27),
            b"\\" => Ok(28),
            b"]" => Ok(29),
            b"^" => Ok(30),
            b"_" => Ok(31),
            _ => Err(bad()),
        },
        None => match word.as_bytes() {
            [byte] => Ok(*byte),
            _ => Err(bad()),
        },
    };
    words.split(',').map(key).collect()
}

#[derive(Debug, PartialEq, Eq)]
pub enum Scan {
    GoOn,
    Detach,
}

/// Finds the sequence in what is typed. What begins like it is held back until it is known not to be.
#[derive(Debug)]
pub struct Keys<'a> {
    keys: &'a [u8],
    matched: usize,
}

impl<'a> Keys<'a> {
    pub fn new(keys: &'a [u8]) -> Keys<'a> {
        Keys { keys, matched: 0 }
    }

    pub fn scan(&mut self, typed: &[u8], passed: &mut Vec<u8>) -> Scan {
        if self.keys.is_empty() {
            passed.extend_from_slice(typed);
            return Scan::GoOn;
        }
        for &byte in typed {
            if self.keys.get(self.matched) != Some(&byte) {
                passed.extend_from_slice(self.keys.get(..self.matched).unwrap_or_default());
                self.matched = 0;
            }
            if self.keys.get(self.matched) != Some(&byte) {
                passed.push(byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                self.matched = 0;
                return Scan::Detach;
            }
        }
        Scan::GoOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_read_as_dockers() {
        assert_eq!(parse(DEFAULT).unwrap(), [16, 17]);
        assert_eq!(parse("a,ctrl-[,^").unwrap(), [b'a', 27, b'^']);
        assert!(parse("").unwrap().is_empty());
        for bad in ["ctrl-", "ctrl-A", "ab", "a,,b"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sequence_detaches_and_what_only_begins_like_it_is_passed_on() {
        let keys = [16, 17];
        let mut scanner = Keys::new(&keys);
        let mut passed = Vec::new();
        assert_eq!(scanner.scan(b"ls\x10", &mut passed), Scan::GoOn);
        assert_eq!(passed, b"ls");
        assert_eq!(scanner.scan(b"x\x10\x10\x11rest", &mut passed), Scan::Detach);
        assert_eq!(passed, b"ls\x10x\x10");
    }
}
