//! The functions of templates: text/template's own, and those that docker adds.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use super::ast::Function;
use super::value::{Bounded, Datum, is_true, print, shown, type_name};
use super::{MAX_TEXT, compare, json, printf};

/// How text comes out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Text of the data is for a terminal.
    pub escape: bool,
    /// The row is the headings: what changes a column's text leaves its heading alone.
    pub heading: bool,
}

#[derive(Debug)]
pub(super) enum Failure {
    /// The function could not do it.
    Call(String),
    /// An argument, by its place, is of the wrong type.
    Argument(usize, String),
    /// More text than may be.
    Limit,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure::Call(message)
    }
}

impl From<fmt::Error> for Failure {
    fn from(_: fmt::Error) -> Self {
        Failure::Limit
    }
}

type Result<T> = std::result::Result<T, Failure>;

/// `and` and `or` do not come here: they must not evaluate all their arguments.
pub(super) fn call<'a>(function: Function, arguments: Vec<Datum<'a>>, style: Style) -> Result<Datum<'a>> {
    use Function::*;
    let changes = matches!(function, Json | Title | Lower | Upper | Truncate | Split | Join);
    if style.heading && changes {
        return Ok(arguments.into_iter().next().unwrap_or(Cow::Owned(Value::Null)));
    }
    let given = Given { all: &arguments, escape: style.escape };
    let value = match function {
        Index => return index(arguments),
        Slice => return slice(arguments, style.escape),
        Not => Value::Bool(!is_true(given.at(0))),
        Eq => Value::Bool(compare::any_equal(given.at(0), arguments.get(1..).unwrap_or_default())?),
        Ne => Value::Bool(!compare::equal(given.at(0), given.at(1))?),
        Lt | Le | Gt | Ge => Value::Bool(compare::ordered(function, given.at(0), given.at(1))?),
        Len => Value::from(length(given.at(0))?),
        Json => Value::String(json::to_json(given.at(0))),
        Print => Value::String(printf::print_all(&arguments, false, style.escape)?),
        Println => Value::String(printf::print_all(&arguments, true, style.escape)?),
        Printf => {
            let rest = arguments.get(1..).unwrap_or_default();
            Value::String(printf::printf(&given.text(0)?, rest, style.escape)?)
        }
        Join => Value::String(join(&given)?),
        Split => split(&given)?,
        Lower => Value::String(given.text(0)?.to_lowercase()),
        Upper => Value::String(given.text(0)?.to_uppercase()),
        Title => Value::String(title(&given.text(0)?)),
        Pad => Value::String(pad(&given)?),
        Truncate => Value::String(truncate(&given)?),
        And | Or => Value::Null,
    };
    Ok(Cow::Owned(value))
}

struct Given<'g, 'a> {
    all: &'g [Datum<'a>],
    escape: bool,
}

impl<'g> Given<'g, '_> {
    /// The number of arguments is checked before.
    fn at(&self, index: usize) -> &'g Value {
        self.all.get(index).map_or(&Value::Null, |argument| argument.as_ref())
    }

    fn text(&self, index: usize) -> Result<Cow<'g, str>> {
        match self.all.get(index) {
            Some(Cow::Borrowed(Value::String(text))) => Ok(shown(text, self.escape)),
            Some(Cow::Owned(Value::String(text))) => Ok(Cow::Borrowed(text)),
            _ => Err(self.expected(index, "string")),
        }
    }

    fn count(&self, index: usize) -> Result<usize> {
        let number = self.at(index).as_i64().ok_or_else(|| self.expected(index, "int"))?;
        usize::try_from(number).map_err(|_| Failure::Call(format!("negative number {number}")))
    }

    fn expected(&self, index: usize, wanted: &str) -> Failure {
        let got = type_name(self.at(index));
        Failure::Argument(index, format!("wrong type for value; expected {wanted}; got {got}"))
    }
}

fn length(value: &Value) -> std::result::Result<usize, String> {
    match value {
        Value::Null => Ok(0),
        Value::String(text) => Ok(text.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(map) => Ok(map.len()),
        Value::Bool(_) | Value::Number(_) => Err(format!("len of type {}", type_name(value))),
    }
}

/// An element of an element, ...
fn index(arguments: Vec<Datum<'_>>) -> Result<Datum<'_>> {
    let mut arguments = arguments.into_iter();
    let mut item = arguments.next().unwrap_or(Cow::Owned(Value::Null));
    for key in arguments {
        item = match item {
            Cow::Borrowed(value) => match element(value, &key)? {
                Found::Element(element) => Cow::Borrowed(element),
                Found::Made(value) => Cow::Owned(value),
            },
            Cow::Owned(value) => match element(&value, &key)? {
                Found::Element(element) => Cow::Owned(element.clone()),
                Found::Made(value) => Cow::Owned(value),
            },
        };
    }
    Ok(item)
}

enum Found<'a> {
    Element(&'a Value),
    /// Go's zero value, or a byte of a text.
    Made(Value),
}

fn element<'a>(item: &'a Value, key: &Value) -> Result<Found<'a>> {
    let outside = |key: &Value| Failure::Call(format!("index out of range: {key}"));
    let position = key.as_u64().and_then(|key| usize::try_from(key).ok());
    match (item, key) {
        (Value::Object(map), Value::String(key)) => Ok(match map.get(key) {
            Some(element) => Found::Element(element),
            None if map.values().all(Value::is_string) => Found::Made(Value::String(String::new())),
            None => Found::Made(Value::Null),
        }),
        (Value::Null, Value::String(_)) => Ok(Found::Made(Value::String(String::new()))),
        (Value::Object(_), _) => {
            Err(Failure::Call(format!("value has type {}; should be string", type_name(key))))
        }
        (Value::Array(list), Value::Number(_)) => {
            let element = position.and_then(|position| list.get(position));
            element.map(Found::Element).ok_or_else(|| outside(key))
        }
        (Value::String(text), Value::Number(_)) => {
            let byte = position.and_then(|position| text.as_bytes().get(position));
            byte.map(|byte| Found::Made(Value::from(*byte))).ok_or_else(|| outside(key))
        }
        (Value::Null, Value::Number(_)) => Err(outside(key)),
        (Value::Array(_) | Value::String(_) | Value::Null, _) => {
            Err(Failure::Call(format!("cannot index slice/array with type {}", type_name(key))))
        }
        (Value::Bool(_) | Value::Number(_), _) => {
            Err(Failure::Call(format!("can't index item of type {}", type_name(item))))
        }
    }
}

/// `slice .ID 0 12`: from one place to another, the rest without the second.
fn slice(arguments: Vec<Datum<'_>>, escape: bool) -> Result<Datum<'_>> {
    let given = Given { all: &arguments, escape };
    if arguments.len() > 3 {
        return Err(Failure::Call(format!("too many slice indexes: {}", arguments.len() - 1)));
    }
    let item = given.at(0);
    let size = match item {
        Value::String(_) | Value::Array(_) => length(item)?,
        _ => return Err(Failure::Call(format!("can't slice item of type {}", type_name(item)))),
    };
    let place = |index: usize, default: usize| -> Result<usize> {
        if arguments.len() <= index {
            return Ok(default);
        }
        match given.count(index)? {
            place if place <= size => Ok(place),
            place => Err(Failure::Call(format!("index out of range: {place}"))),
        }
    };
    let (start, end) = (place(1, 0)?, place(2, size)?);
    if start > end {
        return Err(Failure::Call(format!("invalid slice index: {start} > {end}")));
    }
    match item {
        Value::String(text) => {
            let part = text
                .get(start..end)
                .ok_or_else(|| Failure::Call(format!("{start} and {end} are not both between characters")))?;
            let is_data = matches!(arguments.first(), Some(Cow::Borrowed(_)));
            Ok(Cow::Owned(Value::String(shown(part, escape && is_data).into_owned())))
        }
        // The copy is the template's own, so its text is escaped now or never.
        Value::Array(list) => {
            let part = list.get(start..end).unwrap_or_default();
            let is_data = matches!(arguments.first(), Some(Cow::Borrowed(_)));
            Ok(Cow::Owned(Value::Array(part.iter().map(|item| own(item, escape && is_data)).collect())))
        }
        _ => Ok(Cow::Owned(Value::Null)),
    }
}

/// A copy of data as the template's own, its text escaped now.
fn own(value: &Value, escape: bool) -> Value {
    match value {
        Value::String(text) => Value::String(shown(text, escape).into_owned()),
        Value::Array(list) => Value::Array(list.iter().map(|item| own(item, escape)).collect()),
        Value::Object(map) => Value::Object(
            map.iter().map(|(key, item)| (shown(key, escape).into_owned(), own(item, escape))).collect(),
        ),
        other => other.clone(),
    }
}

fn join(given: &Given<'_, '_>) -> Result<String> {
    let separator = given.text(1)?;
    let is_data = matches!(given.all.first(), Some(Cow::Borrowed(_)));
    let list = match given.at(0) {
        Value::Array(list) => list.as_slice(),
        Value::Null => &[],
        _ => return Err(given.expected(0, "[]string")),
    };
    let mut out = Bounded::default();
    for (index, item) in list.iter().enumerate() {
        fmt::Write::write_str(&mut out, if index == 0 { "" } else { &separator })?;
        print(&mut out, item, given.escape && is_data)?;
    }
    Ok(out.into_string())
}

fn split(given: &Given<'_, '_>) -> Result<Value> {
    let (text, separator) = (given.text(0)?, given.text(1)?);
    let parts: Vec<Value> = match separator.as_ref() {
        "" => text.chars().map(|c| Value::String(c.to_string())).collect(),
        separator => text.split(separator).map(Value::from).collect(),
    };
    Ok(Value::Array(parts))
}

/// strings.Title: a capital after everything that is no letter, digit or underscore.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut is_start = true;
    for c in text.chars() {
        if is_start {
            titled.extend(c.to_uppercase())
        } else {
            titled.push(c)
        }
        is_start = !(c == '_' || c.is_alphanumeric()) && (c.is_ascii() || c.is_whitespace());
    }
    titled
}

/// Spaces before and after what is not empty.
fn pad(given: &Given<'_, '_>) -> Result<String> {
    let (text, before, after) = (given.text(0)?, given.count(1)?, given.count(2)?);
    if text.is_empty() {
        return Ok(String::new());
    }
    if before.saturating_add(after).saturating_add(text.len()) > MAX_TEXT {
        return Err(Failure::Limit);
    }
    Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)))
}

/// So many bytes as docker's, less where that would cut a character.
fn truncate(given: &Given<'_, '_>) -> Result<String> {
    let (text, mut length) = (given.text(0)?, given.count(1)?);
    if length >= text.len() {
        return Ok(text.into_owned());
    }
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    Ok(text.get(..length).unwrap_or_default().to_string())
}
