//! Entries as `logs` prints them.

use std::fmt::Write as _;

use super::{Attrs, Entry};
use crate::time;

/// Puts in front of each entry what `-t` and `--details` ask for.
#[derive(Debug, Default)]
pub struct Printer {
    timestamps: bool,
    details: bool,
    /// The last time and its spelling: neighbours often have the same.
    time: Option<(i64, String)>,
}

impl Printer {
    pub fn new(timestamps: bool, details: bool) -> Self {
        Self { timestamps, details, time: None }
    }

    /// Appends an entry. The bytes are the container's own.
    pub fn print(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        if self.timestamps {
            let (time, shown) =
                self.time.get_or_insert_with(|| (entry.time, time::rfc3339_fixed(entry.time)));
            if *time != entry.time {
                (*time, *shown) = (entry.time, time::rfc3339_fixed(entry.time));
            }
            out.extend_from_slice(shown.as_bytes());
            out.push(b' ');
        }
        if self.details {
            out.extend_from_slice(details(entry.attrs).as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(entry.bytes);
    }
}

/// `key=value,...` in the encoding of web forms, as docker shows attrs.
fn details(attrs: &Attrs) -> String {
    let mut shown = String::new();
    for (key, value) in attrs {
        if !shown.is_empty() {
            shown.push(',');
        }
        form_encode(key, &mut shown);
        shown.push('=');
        form_encode(value, &mut shown);
    }
    shown
}

fn form_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            // Writing to a String does not fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::*;

    fn printed(timestamps: bool, details: bool, attrs: &Attrs) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(timestamps, details);
        for (time, bytes) in [(0, &b"a\n"[..]), (0, b"b\n"), (1, b"c\n")] {
            printer.print(&Entry { stream: Stream::Stdout, time, attrs, bytes }, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_and_details_stand_in_front() {
        let attrs = Attrs::from([("a b".into(), "1/2".into()), ("c".into(), "ü".into())]);
        assert_eq!(printed(false, false, &attrs), "a\nb\nc\n");
        assert_eq!(
            printed(true, false, &attrs),
            "1970-01-01T00:00:00.000000000Z a\n1970-01-01T00:00:00.000000000Z b\n1970-01-01T00:00:00.000000001Z c\n"
        );
        assert!(
            printed(true, true, &attrs).starts_with("1970-01-01T00:00:00.000000000Z a+b=1%2F2,c=%C3%BC a\n")
        );
        assert_eq!(printed(false, true, &Attrs::new()), " a\n b\n c\n");
    }
}
