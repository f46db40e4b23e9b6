//! `HEALTHCHECK [OPTIONS] CMD command`, or `HEALTHCHECK NONE`.

use serde_json::{Map, Value, json};

use super::{ChangeError, json_list, split_name};
use crate::time::parse_duration;

/// Nanoseconds.
const MILLISECOND: i64 = 1_000_000;

pub fn parse(rest: &str) -> Result<Value, ChangeError> {
    let mut check = Map::new();
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (word, behind) = split_name(flag);
        option(&mut check, word)?;
        rest = behind;
    }
    let (kind, command) = split_name(rest);
    let test = match kind.to_ascii_uppercase().as_str() {
        "" => return Err(ChangeError::AtLeastOne("HEALTHCHECK")),
        "NONE" if !command.is_empty() || !check.is_empty() => return Err(ChangeError::HealthNone),
        "NONE" => json!(["NONE"]),
        "CMD" => match json_list(command) {
            _ if command.is_empty() => return Err(ChangeError::HealthCommand),
            Some(words) if words.is_empty() => return Err(ChangeError::HealthCommand),
            Some(words) => json!([vec!["CMD".to_owned()], words].concat()),
            None => json!(["CMD-SHELL", command]),
        },
        _ => return Err(ChangeError::HealthType(kind.to_owned())),
    };
    check.insert("Test".to_owned(), test);
    Ok(Value::Object(check))
}

/// `interval=30s` and the like. Zero is docker's default.
fn option(check: &mut Map<String, Value>, word: &str) -> Result<(), ChangeError> {
    let (flag, value) = word.split_once('=').unwrap_or((word, ""));
    let bad = || ChangeError::FlagValue { flag: flag.to_owned(), value: value.to_owned() };
    let (key, number) = match flag {
        "interval" => ("Interval", duration(value)),
        "timeout" => ("Timeout", duration(value)),
        "start-period" => ("StartPeriod", duration(value)),
        "retries" => ("Retries", value.parse().ok().filter(|count| *count > 0)),
        _ => return Err(ChangeError::Flag(flag.to_owned())),
    };
    check.insert(key.to_owned(), json!(number.ok_or_else(bad)?));
    Ok(())
}

fn duration(value: &str) -> Option<i64> {
    parse_duration(value).filter(|span| *span == 0 || *span >= MILLISECOND)
}
