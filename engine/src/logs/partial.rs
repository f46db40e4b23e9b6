//! Chunks of output into lines, and lines into JSON.

use std::io::Write as _;

use super::encode;
use crate::time::{self, Rfc3339};

/// Longest text of one JSON line, as docker has it; longer lines come in parts.
pub(super) const PART: usize = 16 << 10;

/// What one stream has in flight: the line that has not ended, and buffers. Each pump has its own.
#[derive(Debug, Default)]
pub struct Partial {
    /// The beginning of a line whose end has not come; shorter than [`PART`].
    kept: Vec<u8>,
    /// When the first part of the present line was written, if one was: the others bear its time.
    first_part: Option<i64>,
    /// JSON that waits to be written.
    pub(super) out: Vec<u8>,
    stamp: Stamp,
}

/// The end of each JSON line, from behind the text.
#[derive(Debug, Default)]
struct Stamp {
    bytes: Vec<u8>,
    /// What is in `bytes` behind `"time":`.
    time: i64,
}

impl Stamp {
    fn set(&mut self, middle: &[u8], time: i64) {
        if !self.bytes.is_empty() && self.time == time {
            return;
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(middle);
        // Writing to a Vec does not fail.
        let _ = write!(self.bytes, "{}\"}}", Rfc3339::trimmed(time));
        self.bytes.push(b'\n');
        self.time = time;
    }
}

/// What lies between text and time in each line of one stream: `","stream":"stdout","time":"`.
pub(super) fn middle(stream: super::Stream, attrs: &[u8]) -> Vec<u8> {
    let mut middle = format!("\",\"stream\":\"{}\"", stream.name()).into_bytes();
    if !attrs.is_empty() {
        middle.extend_from_slice(b",\"attrs\":");
        middle.extend_from_slice(attrs);
    }
    middle.extend_from_slice(b",\"time\":\"");
    middle
}

/// One chunk of a stream on its way into [`Partial::out`].
pub(super) struct Chunk<'a> {
    partial: &'a mut Partial,
    middle: &'a [u8],
    now: i64,
}

impl<'a> Chunk<'a> {
    /// All lines that end in a chunk bear the time at which it was read.
    pub(super) fn begin(partial: &'a mut Partial, middle: &'a [u8]) -> Self {
        Self { partial, middle, now: time::now_ns() }
    }

    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.partial.out
    }

    /// Takes text without a newline; `ends` if one followed it.
    pub(super) fn text(&mut self, mut text: &[u8], ends: bool) {
        while self.partial.kept.len() + text.len() >= PART {
            let (fill, rest) = text.split_at(PART - self.partial.kept.len());
            text = rest;
            self.partial.kept.extend_from_slice(fill);
            self.emit_kept(whole_characters(&self.partial.kept), false);
        }
        if !ends {
            self.partial.kept.extend_from_slice(text);
        } else if self.partial.kept.is_empty() {
            self.emit(text, true);
        } else {
            self.partial.kept.extend_from_slice(text);
            self.emit_kept(self.partial.kept.len(), true);
        }
    }

    /// The stream has ended: what was kept is all there will be of its line.
    pub(super) fn end(&mut self) {
        if !self.partial.kept.is_empty() {
            self.emit_kept(self.partial.kept.len(), false);
        }
        self.partial.first_part = None;
    }

    fn emit_kept(&mut self, length: usize, ends: bool) {
        let mut kept = std::mem::take(&mut self.partial.kept);
        self.emit(kept.get(..length).unwrap_or_default(), ends);
        kept.drain(..length);
        self.partial.kept = kept;
    }

    fn emit(&mut self, text: &[u8], ends: bool) {
        let Partial { first_part, out, stamp, .. } = &mut *self.partial;
        stamp.set(self.middle, first_part.unwrap_or(self.now));
        out.extend_from_slice(encode::BEGIN);
        encode::escape(text, out);
        if ends {
            out.extend_from_slice(b"\\n");
            *first_part = None;
        } else {
            first_part.get_or_insert(self.now);
        }
        out.extend_from_slice(&stamp.bytes);
    }
}

/// Length without a character that only begins at the end. Docker cuts through it, and loses it.
fn whole_characters(text: &[u8]) -> usize {
    for back in 1..=text.len().min(3) {
        let at = text.len() - back;
        let length = match text.get(at) {
            Some(0x80..=0xbf) => continue,
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf7) => 4,
            _ => 1,
        };
        return if length > back { at } else { text.len() };
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::*;

    /// The text of each JSON line that the chunks give.
    fn texts(chunks: &[&[u8]]) -> Vec<String> {
        let mut partial = Partial::default();
        let middle = middle(Stream::Stdout, b"");
        for chunk in chunks {
            let mut lines: Vec<_> = chunk.split(|&byte| byte == b'\n').collect();
            let last = lines.pop().unwrap();
            let mut chunk = Chunk::begin(&mut partial, &middle);
            lines.iter().for_each(|line| chunk.text(line, true));
            chunk.text(last, false);
        }
        Chunk::begin(&mut partial, &middle).end();
        let lines = partial.out.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| {
                serde_json::from_slice::<serde_json::Value>(line).unwrap()["log"].as_str().unwrap().into()
            })
            .collect()
    }

    #[test]
    fn a_line_in_pieces_is_one_line() {
        assert_eq!(texts(&[b"a", b"b", b"c\nd", b"\n\n", b"e"]), ["abc\n", "d\n", "\n", "e"]);
    }

    #[test]
    fn long_lines_come_in_parts_of_16_kib() {
        let long = [&[b'x'; 2 * PART + 1][..], b"\n"].concat();
        assert_eq!(texts(&[&long]).iter().map(String::len).collect::<Vec<_>>(), [PART, PART, 2]);
    }

    #[test]
    fn a_line_of_exactly_a_part_ends_in_a_line_of_its_own() {
        let (text, more) = ([b'x'; PART], b"\n");
        assert_eq!(texts(&[&text, more]).iter().map(String::len).collect::<Vec<_>>(), [PART, 1]);
    }

    #[test]
    fn parts_end_between_characters() {
        let long = "€".repeat(PART / 3 + 1);
        let parts = texts(&[long.as_bytes()]);
        assert_eq!(parts.iter().map(String::len).collect::<Vec<_>>(), [PART - 1, 3]);
        assert_eq!(parts.concat(), long);
    }

    #[test]
    fn all_parts_of_a_line_bear_the_first_ones_time() {
        let mut partial = Partial::default();
        let middle = middle(Stream::Stderr, b"");
        for (now, text, ends) in [(1, &[b'x'; PART][..], false), (2, b"y", true), (3, b"z", true)] {
            Chunk { partial: &mut partial, middle: &middle, now }.text(text, ends);
        }
        let out = String::from_utf8(partial.out).unwrap();
        let times: Vec<_> = out.lines().map(|line| line.rsplit('"').nth(1).unwrap()).collect();
        assert_eq!(
            times,
            [
                "1970-01-01T00:00:00.000000001Z",
                "1970-01-01T00:00:00.000000001Z",
                "1970-01-01T00:00:00.000000003Z"
            ]
        );
    }
}
