//! JSON as docker's client writes it.

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use crate::text::is_shown;

/// One line of JSON, the same to a parser as any other, in which no character reaches the terminal that
/// could move its cursor or hide.
pub fn to_json(value: &Value) -> String {
    let mut bytes = Vec::new();
    // Of the two that can fail, a Vec takes every byte and a Value has only text for keys.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut bytes, Go));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The same over several lines, as `inspect` shows it.
pub fn to_json_pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let _ = value.serialize(&mut Serializer::with_formatter(
        &mut bytes,
        Indented(PrettyFormatter::with_indent(b"    ")),
    ));
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Indented(PrettyFormatter<'static>);

impl Formatter for Indented {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        Go.write_f64(writer, value)
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        Go.write_string_fragment(writer, text)
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

struct Go;

impl Formatter for Go {
    /// encoding/json: whole numbers without a point, an exponent below 1e-6 and from 1e21 on.
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let size = value.abs();
        if size != 0.0 && size < 1e-6 {
            write!(writer, "{value:e}")
        } else if size >= 1e21 {
            write!(writer, "{}", format!("{value:e}").replace('e', "e+"))
        } else {
            write!(writer, "{value}")
        }
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        let mut rest = text;
        while let Some((at, hidden)) = rest.char_indices().find(|(_, c)| !is_shown(*c)) {
            let (plain, after) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = after.get(hidden.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_written_as_gos() {
        let numbers = json!([1.0, 1.5, 1e21, 1e-7, 0.0, 5, u64::MAX]);
        assert_eq!(to_json(&numbers), "[1,1.5,1e+21,1e-7,0,5,18446744073709551615]");
    }

    #[test]
    fn indented_json_is_dockers_and_as_safe() {
        let value = json!({"A": [], "B": {"c": ["\u{9b}", 1.0]}, "D": {}});
        let text = "{\n    \"A\": [],\n    \"B\": {\n        \"c\": [\n            \"\\u009b\",\n            1\n        ]\n    },\n    \"D\": {}\n}";
        assert_eq!(to_json_pretty(&value), text);
    }

    #[test]
    fn what_could_move_a_cursor_is_escaped_and_reads_back_the_same() {
        let value = json!({"a\u{9b}b": "\u{202e}x\u{7f}\u{1b}\n<&>é\u{e0041}"});
        let text = to_json(&value);
        assert_eq!(text, r#"{"a\u009bb":"\u202ex\u007f\u001b\n<&>é\udb40\udc41"}"#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
