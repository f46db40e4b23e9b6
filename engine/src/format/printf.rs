//! Go's `printf` for what JSON can hold; what a verb cannot show is told as Go tells it: `%!d(string=x)`.

use std::fmt::{self, Write};

use serde_json::{Number, Value};

use super::float;
use super::functions::Failure;
use super::value::{Bounded, Datum, print, shown, sorted, type_name};

/// Go's limit of widths and precisions.
const MAX_WIDTH: usize = 1_000_000;

/// Between `%` and the verb.
#[derive(Debug, Default, Clone, Copy)]
struct Spec {
    minus: bool,
    plus: bool,
    zero: bool,
    space: bool,
    width: usize,
    precision: Option<usize>,
}

pub(super) fn printf(format: &str, arguments: &[Datum], escape: bool) -> Result<String, Failure> {
    let mut out = Bounded::default();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some((plain, after)) = rest.split_once('%') {
        out.write_str(plain)?;
        let (spec, after) = spec(after);
        let mut chars = after.chars();
        let verb = chars.next();
        rest = chars.as_str();
        match verb {
            None => out.write_str("%!(NOVERB)")?,
            Some('%') => out.write_char('%')?,
            Some(other @ ('#' | '*' | '[')) => {
                return Err(Failure::Call(format!("'{other}' after % is not supported")));
            }
            Some(verb) => match arguments.next() {
                None => write!(out, "%!{verb}(MISSING)")?,
                Some(argument) => {
                    let is_data = matches!(argument, Datum::Borrowed(_));
                    let printer = Printer { spec, verb, escape: escape && is_data };
                    printer.value(&mut out, argument)?;
                }
            },
        }
    }
    out.write_str(rest)?;
    extra(&mut out, arguments.as_slice(), escape)?;
    Ok(out.into_string())
}

/// Arguments that no verb asked for.
fn extra(out: &mut Bounded, arguments: &[Datum], escape: bool) -> fmt::Result {
    for (index, argument) in arguments.iter().enumerate() {
        out.write_str(if index == 0 { "%!(EXTRA " } else { ", " })?;
        typed(out, argument, escape && matches!(argument, Datum::Borrowed(_)))?;
    }
    out.write_str(if arguments.is_empty() { "" } else { ")" })
}

/// `int=1`
fn typed(out: &mut Bounded, value: &Value, escape: bool) -> fmt::Result {
    if *value != Value::Null {
        write!(out, "{}=", type_name(value))?;
    }
    print(out, value, escape)
}

fn spec(text: &str) -> (Spec, &str) {
    let mut spec = Spec::default();
    let flags = text.len() - text.trim_start_matches(['-', '+', '0', ' ']).len();
    let (flags, rest) = text.split_at(flags);
    for flag in flags.chars() {
        match flag {
            '-' => spec.minus = true,
            '+' => spec.plus = true,
            '0' => spec.zero = true,
            _ => spec.space = true,
        }
    }
    let (width, rest) = digits(rest);
    spec.width = width.unwrap_or_default();
    match rest.strip_prefix('.') {
        Some(rest) => {
            let (precision, rest) = digits(rest);
            spec.precision = Some(precision.unwrap_or_default());
            (spec, rest)
        }
        None => (spec, rest),
    }
}

fn digits(text: &str) -> (Option<usize>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    ((end > 0).then(|| digits.parse().unwrap_or(MAX_WIDTH).min(MAX_WIDTH)), rest)
}

struct Printer {
    spec: Spec,
    verb: char,
    escape: bool,
}

impl Printer {
    /// The verb is for each element of a list or map.
    fn value(&self, out: &mut Bounded, value: &Value) -> fmt::Result {
        match value {
            Value::Array(list) => {
                out.write_char('[')?;
                for (index, element) in list.iter().enumerate() {
                    out.write_str(if index == 0 { "" } else { " " })?;
                    self.value(out, element)?;
                }
                out.write_char(']')
            }
            Value::Object(map) => {
                out.write_str("map[")?;
                for (index, (key, element)) in sorted(map).into_iter().enumerate() {
                    out.write_str(if index == 0 { "" } else { " " })?;
                    self.text(out, key)?;
                    out.write_char(':')?;
                    self.value(out, element)?;
                }
                out.write_char(']')
            }
            Value::String(text) => self.text(out, text),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => self.float(out, float),
                None => self.integer(out, number),
            },
            Value::Bool(bool) if matches!(self.verb, 'v' | 't') => self.pad(out, &bool.to_string()),
            Value::Null if self.verb == 'v' => self.pad(out, "<nil>"),
            Value::Bool(_) | Value::Null => self.bad(out, value),
        }
    }

    fn bad(&self, out: &mut Bounded, value: &Value) -> fmt::Result {
        write!(out, "%!{}(", self.verb)?;
        typed(out, value, self.escape)?;
        out.write_char(')')
    }

    fn text(&self, out: &mut Bounded, text: &str) -> fmt::Result {
        let cut: String = match self.spec.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_string(),
        };
        match self.verb {
            's' | 'v' => self.pad(out, &shown(&cut, self.escape)),
            'q' => self.pad(out, &quote(&cut)),
            'x' => self.pad(out, &cut.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()),
            'X' => self.pad(out, &cut.bytes().map(|byte| format!("{byte:02X}")).collect::<String>()),
            _ => self.bad(out, &Value::String(text.to_string())),
        }
    }

    fn integer(&self, out: &mut Bounded, number: &Number) -> fmt::Result {
        let value = number.as_i128().unwrap_or_default();
        let digits = match self.verb {
            'd' | 'v' => value.unsigned_abs().to_string(),
            'x' => format!("{:x}", value.unsigned_abs()),
            'X' => format!("{:X}", value.unsigned_abs()),
            _ => return self.bad(out, &Value::Number(number.clone())),
        };
        self.number(out, value < 0, &digits)
    }

    fn float(&self, out: &mut Bounded, value: f64) -> fmt::Result {
        let (size, precision) = (value.abs(), self.spec.precision);
        // Decimal places past the smallest double's last are zeros that nobody needs.
        let places = precision.unwrap_or(6).min(1100);
        let digits = match (self.verb, precision) {
            ('v' | 'g', None) => float::shortest(size),
            ('v' | 'g', Some(digits)) => float::significant(size, digits.min(1100)),
            ('f', _) => format!("{size:.places$}"),
            ('e', _) => float::exponential(size, places),
            _ => {
                let number = Number::from_f64(value).map_or(Value::Null, Value::Number);
                return self.bad(out, &number);
            }
        };
        self.number(out, value.is_sign_negative(), &digits)
    }

    fn number(&self, out: &mut Bounded, is_negative: bool, digits: &str) -> fmt::Result {
        let sign = match (is_negative, self.spec.plus, self.spec.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        };
        let spec = self.spec;
        if spec.zero && !spec.minus {
            let width = spec.width.saturating_sub(sign.len());
            return write!(out, "{sign}{}{digits}", "0".repeat(width.saturating_sub(digits.len())));
        }
        self.pad(out, &format!("{sign}{digits}"))
    }

    fn pad(&self, out: &mut Bounded, text: &str) -> fmt::Result {
        let fill = self.spec.width.saturating_sub(text.chars().count());
        match (self.spec.minus, self.spec.zero) {
            (true, _) => write!(out, "{text}{}", " ".repeat(fill)),
            (false, true) => write!(out, "{}{text}", "0".repeat(fill)),
            (false, false) => write!(out, "{}{text}", " ".repeat(fill)),
        }
    }
}

/// strconv.Quote: a Go string literal, safe to show.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if crate::text::is_shown(c) => quoted.push(c),
            c if c.is_ascii() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) <= 0xffff => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// `print` (spaces where neither neighbour is text) and `println` (spaces everywhere).
pub(super) fn print_all(arguments: &[Datum], is_line: bool, escape: bool) -> Result<String, fmt::Error> {
    let mut out = Bounded::default();
    let mut before: Option<&Value> = None;
    for argument in arguments {
        let is_apart = before.is_some_and(|before| is_line || (!before.is_string() && !argument.is_string()));
        out.write_str(if is_apart { " " } else { "" })?;
        print(&mut out, argument, escape && matches!(argument, Datum::Borrowed(_)))?;
        before = Some(argument);
    }
    out.write_str(if is_line { "\n" } else { "" })?;
    Ok(out.into_string())
}
