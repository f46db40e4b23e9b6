//! One JSON line of a log into an entry.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Attrs, Stream, encode};
use crate::time;

/// One line, or part of one, of what a container printed.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub stream: Stream,
    /// Nanoseconds since 1970.
    pub time: i64,
    pub attrs: &'a Attrs,
    /// With the newline, unless it is a part of a longer line or the stream's unfinished end.
    pub bytes: &'a [u8],
}

/// Takes the lines that [`super::Writer`] and docker make apart by hand, and leaves others to serde.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    text: Vec<u8>,
    time: Repeated<i64>,
    attrs: Repeated<Attrs>,
}

/// The last value read. Neighbours in a log often have the same time, and all have the same attrs.
#[derive(Debug, Default)]
struct Repeated<T> {
    json: String,
    value: T,
}

impl<T> Repeated<T> {
    fn read(&mut self, json: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<()> {
        if self.json != json {
            self.value = parse(json)?;
            self.json.clear();
            self.json.push_str(json);
        }
        Some(())
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    stream: Stream,
    #[serde(borrow)]
    time: Cow<'a, str>,
    attrs: Option<Attrs>,
}

impl Decoder {
    /// None if the line is not sound.
    pub(super) fn decode(&mut self, line: &[u8]) -> Option<Entry<'_>> {
        // JSON has no control characters, and both parsers rely on this. Folded without a branch a byte,
        // so that the compiler makes vector instructions of it.
        if line.iter().fold(u8::MAX, |least, &byte| least.min(byte)) < 0x20 {
            return None;
        }
        let line = str::from_utf8(line).ok()?;
        let stream = match self.by_hand(line) {
            Some(stream) => stream,
            None => self.by_serde(line)?,
        };
        Some(Entry { stream, time: self.time.value, attrs: &self.attrs.value, bytes: &self.text })
    }

    fn by_hand(&mut self, line: &str) -> Option<Stream> {
        let begin = str::from_utf8(encode::BEGIN).ok()?;
        let rest = unescape(line.strip_prefix(begin)?, &mut self.text)?;
        let rest = rest.strip_prefix(",\"stream\":\"std")?;
        let (stream, rest) = match rest.strip_prefix("out\"") {
            Some(rest) => (Stream::Stdout, rest),
            None => (Stream::Stderr, rest.strip_prefix("err\"")?),
        };
        let rest = match rest.strip_prefix(",\"attrs\":") {
            Some(rest) => {
                let (attrs, rest) = rest.split_at_checked(object_length(rest)?)?;
                self.attrs.read(attrs, |json| serde_json::from_str(json).ok())?;
                rest
            }
            None => {
                self.attrs.read("", |_| Some(Attrs::new()))?;
                rest
            }
        };
        let time = rest.strip_prefix(",\"time\":\"")?.strip_suffix("\"}")?;
        self.time.read(time, time::parse_rfc3339)?;
        Some(stream)
    }

    fn by_serde(&mut self, line: &str) -> Option<Stream> {
        let line: Line<'_> = serde_json::from_str(line).ok()?;
        self.time.read(&line.time, time::parse_rfc3339)?;
        self.attrs = Repeated { json: String::new(), value: line.attrs.unwrap_or_default() };
        // The value of "" is known to be empty; any other's spelling is not.
        if !self.attrs.value.is_empty() {
            self.attrs.json.push(' ');
        }
        self.text.clear();
        self.text.extend_from_slice(line.log.as_bytes());
        Some(line.stream)
    }
}

/// Replaces `text` by a JSON string's value, and gives what follows the closing quote. None for what is
/// not sound, and for surrogate pairs, which nobody writes here.
fn unescape<'a>(json: &'a str, text: &mut Vec<u8>) -> Option<&'a str> {
    text.clear();
    let mut rest = json;
    loop {
        let at = memchr::memchr2(b'"', b'\\', rest.as_bytes())?;
        let (plain, special) = rest.split_at_checked(at)?;
        text.extend_from_slice(plain.as_bytes());
        if let Some(behind) = special.strip_prefix('"') {
            return Some(behind);
        }
        let length = match special.as_bytes().get(1)? {
            b'n' => push(text, b'\n'),
            b't' => push(text, b'\t'),
            b'r' => push(text, b'\r'),
            b'b' => push(text, 8),
            b'f' => push(text, 12),
            byte @ (b'"' | b'\\' | b'/') => push(text, *byte),
            b'u' => {
                let digits =
                    special.get(2..6).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
                let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                6
            }
            _ => return None,
        };
        rest = special.get(length..)?;
    }
}

/// Appends what a backslash and one letter mean; gives the length of those.
fn push(text: &mut Vec<u8>, byte: u8) -> usize {
    text.push(byte);
    2
}

/// Length of the JSON object at the front, which holds strings only.
fn object_length(json: &str) -> Option<usize> {
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'}' if !in_string => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a fresh decoder makes of a line, by hand if it can, and what serde makes of it.
    fn decode(line: &str) -> Option<(String, Stream, i64, Attrs)> {
        let mut decoder = Decoder::default();
        let entry = decoder.decode(line.as_bytes())?;
        let text = String::from_utf8(entry.bytes.to_vec()).unwrap();
        Some((text, entry.stream, entry.time, entry.attrs.clone()))
    }

    #[test]
    fn the_writers_lines_are_taken_apart_by_hand() {
        let line = r#"{"log":"a\"\\\u003c\u0000\n","stream":"stderr","attrs":{"k":"}\"{"},"time":"1970-01-01T00:00:01Z"}"#;
        let mut decoder = Decoder::default();
        assert_eq!(decoder.by_hand(line), Some(Stream::Stderr));
        assert_eq!(decoder.text, b"a\"\\<\0\n");
        assert_eq!(decoder.time.value, 1_000_000_000);
        assert_eq!(decoder.attrs.value, Attrs::from([("k".into(), "}\"{".into())]));
    }

    #[test]
    fn other_orders_and_forms_are_read_too() {
        let line = r#" {"time": "1970-01-01T01:00:00.5+01:00", "stream":"stdout", "more": [1], "log":"\ud83d\ude00\/"} "#;
        assert_eq!(decode(line), Some(("😀/".into(), Stream::Stdout, 500_000_000, Attrs::new())));
    }

    #[test]
    fn attrs_are_each_lines_own() {
        let by_hand =
            |attrs: &str| format!(r#"{{"log":"x","stream":"stdout"{attrs},"time":"1970-01-01T00:00:00Z"}}"#);
        let by_serde = format!(" {}", by_hand(r#","attrs":{"a":"3"}"#));
        let mut decoder = Decoder::default();
        for (line, attr) in [
            (by_hand(r#","attrs":{"a":"1"}"#), Some("1")),
            (by_hand(r#","attrs":{"a":"2"}"#), Some("2")),
            (by_hand(""), None),
            (by_serde, Some("3")),
            (by_hand(""), None),
            (by_hand(r#","attrs":{"a":"2"}"#), Some("2")),
        ] {
            let entry = decoder.decode(line.as_bytes()).unwrap();
            assert_eq!(entry.attrs.get("a").map(String::as_str), attr, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_apart_by_hand_serde_reads_alike(
            at: prop::sample::Index, mutation in prop::collection::vec(prop::sample::select(&b"\"\\{}:,u0n az"[..]), 0..3), cut in 0..3_usize,
        ) {
            let mut line = br#"{"log":"a\"\\\u003c b\n","stream":"stderr","attrs":{"k":"}\"{","l":""},"time":"1970-01-01T00:00:01Z"}"#.to_vec();
            let at = at.index(line.len());
            line.splice(at..line.len().min(at + cut), mutation);
            let line = String::from_utf8(line).unwrap();
            let (mut hand, mut serde) = (Decoder::default(), Decoder::default());
            if let Some(stream) = hand.by_hand(&line) {
                prop_assert_eq!(serde.by_serde(&line), Some(stream));
                prop_assert_eq!(hand.text, serde.text);
                prop_assert_eq!(hand.time.value, serde.time.value);
                prop_assert_eq!(hand.attrs.value, serde.attrs.value);
            }
        }
    }

    #[test]
    fn what_is_not_sound_is_no_entry() {
        let sound = r#"{"log":"abc\n","stream":"stdout","time":"2026-01-01T00:00:00.5Z"}"#;
        assert!(decode(sound).is_some());
        for end in 0..sound.len() {
            assert_eq!(decode(&sound[..end]), None, "{end}");
        }
        for (from, to) in
            [("abc", "a\0c"), ("stdout", "stdin"), ("01-01", "13-01"), ("\\n", "\\x"), ("\\n", "\\u+123")]
        {
            assert_eq!(decode(&sound.replace(from, to)), None, "{to}");
        }
        let not_utf8: Vec<u8> = sound.bytes().map(|byte| if byte == b'b' { 0xff } else { byte }).collect();
        assert!(Decoder::default().decode(&not_utf8).is_none());
    }
}
