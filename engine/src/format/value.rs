//! What a template computes with, and Go's `%v` of it.

use std::borrow::Cow;
use std::fmt::{self, Write};

use serde_json::{Map, Number, Value};

use super::{MAX_TEXT, float};
use crate::text;

/// Borrowed: of the data, whose text may need escaping. Owned: made by the template, text escaped already.
pub(super) type Datum<'a> = Cow<'a, Value>;

/// Text that refuses to grow past [`MAX_TEXT`].
#[derive(Debug, Default)]
pub(super) struct Bounded(String);

impl Bounded {
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len().saturating_add(text.len()) > MAX_TEXT {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Go's names of what JSON can hold.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Neither false, 0, nor empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// In Go's order of iteration.
pub(super) fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

/// The text of data, escaped where it is meant for a terminal.
pub(super) fn shown(text: &str, escape: bool) -> Cow<'_, str> {
    if escape { Cow::Owned(text::escape(text).to_string()) } else { Cow::Borrowed(text) }
}

/// Go's `%v`.
pub(super) fn print(out: &mut impl Write, value: &Value, escape: bool) -> fmt::Result {
    match value {
        Value::Null => out.write_str("<nil>"),
        Value::Bool(value) => write!(out, "{value}"),
        Value::Number(number) => out.write_str(&print_number(number)),
        Value::String(text) => out.write_str(&shown(text, escape)),
        Value::Array(list) => {
            out.write_char('[')?;
            for (index, element) in list.iter().enumerate() {
                out.write_str(if index == 0 { "" } else { " " })?;
                print(out, element, escape)?;
            }
            out.write_char(']')
        }
        Value::Object(map) => {
            out.write_str("map[")?;
            for (index, (key, element)) in sorted(map).into_iter().enumerate() {
                out.write_str(if index == 0 { "" } else { " " })?;
                write!(out, "{}:", shown(key, escape))?;
                print(out, element, escape)?;
            }
            out.write_char(']')
        }
    }
}

pub(super) fn print_number(number: &Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(value) => float::shortest(value),
        None => number.to_string(),
    }
}
