//! Tables, and the forms in which docker shows amounts, times and states (go-units and the daemon's words).

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use serde_json::Value;

use super::{Exit, Failure};
use crate::format::filter::{FilterError, Filters};
use crate::format::{Template, TemplateError, float, tabwriter, to_json};
use crate::terminal;
use crate::text::escape;

/// Rows under headings, columns aligned: docker's look. Cells are escaped.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    let mut text = headings.join("\t");
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| escape(cell).to_string()).collect();
        text.push('\n');
        text.push_str(&cells.join("\t"));
    }
    println!("{}", tabwriter::align(&text));
}

/// A command's answer. Whoever read it and has had enough is no error.
pub fn print(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("Failed to write to stdout").into())
        }
        _ => Ok(0),
    }
}

/// A template over one thing. Programs get the data as it is, a terminal gets it escaped.
pub fn render(template: &Template, thing: &Value) -> Result<String, TemplateError> {
    if terminal::is_terminal(&io::stdout()) { template.render_escaped(thing) } else { template.render(thing) }
}

/// The words of `--filter`. One that has not their form is a mistake in the command line, as with docker.
pub fn filters(words: &[String], allowed: &[&str]) -> Result<Filters, Failure> {
    Filters::parse(words, allowed).map_err(|error| {
        let code = if matches!(error, FilterError::Form(_)) { 125 } else { 1 };
        Failure { code, error: error.into() }
    })
}

/// One thing by a user's `--format`, `json` or a template.
pub fn print_formatted(format: &str, thing: &Value) -> Exit {
    let failed = |error: TemplateError| Failure { code: error.inspect_exit_code(), error: error.into() };
    let text = match format {
        "json" => to_json(thing),
        format => render(&Template::parse(format).map_err(failed)?, thing).map_err(failed)?,
    };
    print(&(text + "\n"))
}

/// Decimal units, three digits, as `docker images` and `ps --size` show sizes: `1.23MB`.
pub fn size(bytes: u64) -> String {
    scaled(bytes, 1000, &DECIMAL, 3)
}

/// Labels in one column, as docker shows them.
pub fn pairs(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// Decimal units, four digits (go-units' HumanSize): `1.235MB`.
pub fn human_size(bytes: u64) -> String {
    scaled(bytes, 1000, &DECIMAL, 4)
}

/// Binary units, four digits (go-units' BytesSize), as `docker stats` shows memory: `1.178MiB`.
pub fn bytes_size(bytes: u64) -> String {
    scaled(bytes, 1024, &BINARY, 4)
}

const DECIMAL: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

fn scaled(bytes: u64, base: u32, units: &[&str; 7], digits: usize) -> String {
    // Seven units are more than a u64 needs: what 53 bits lose is beyond the digits shown.
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut amount = bytes as f64;
    let mut unit = units[0];
    for larger in units.iter().skip(1) {
        if amount < f64::from(base) {
            break;
        }
        amount /= f64::from(base);
        unit = larger;
    }
    format!("{}{unit}", float::significant(amount, digits))
}

/// How long, in docker's words (go-units' HumanDuration): `About a minute`, `2 weeks`.
pub fn duration(seconds: i64) -> String {
    // Go adds half an hour before it counts hours.
    let hours = seconds.saturating_add(1800) / 3600;
    let (amount, unit) = match seconds {
        i64::MIN..=0 => return "Less than a second".into(),
        1 => return "1 second".into(),
        2..60 => (seconds, "seconds"),
        60..120 => return "About a minute".into(),
        120..3600 => (seconds / 60, "minutes"),
        _ => match hours {
            ..=1 => return "About an hour".into(),
            2..48 => (hours, "hours"),
            48..336 => (hours / 24, "days"),
            336..1440 => (hours / 24 / 7, "weeks"),
            1440..17520 => (hours / 24 / 30, "months"),
            _ => (seconds / 3600 / 24 / 365, "years"),
        },
    };
    format!("{amount} {unit}")
}

/// How long ago: `3 days ago`.
pub fn ago(seconds: i64) -> String {
    format!("{} ago", duration(seconds))
}

/// What a container's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Starting,
    Healthy,
    Unhealthy,
}

impl Health {
    /// Of the word that the container's row has for it.
    pub fn from_word(word: &str) -> Option<Health> {
        match word {
            "starting" => Some(Health::Starting),
            "healthy" => Some(Health::Healthy),
            "unhealthy" => Some(Health::Unhealthy),
            _ => None,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Health::Starting => "health: starting",
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        })
    }
}

/// A container's state in the words of `docker ps`. Times are seconds since then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Created,
    Up { started: i64, health: Option<Health> },
    Paused { started: i64 },
    Restarting { code: i32, ended: i64 },
    Exited { code: i32, ended: i64 },
    Removing,
    Dead,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Status::Created => f.write_str("Created"),
            Status::Up { started, health: None } => write!(f, "Up {}", duration(started)),
            Status::Up { started, health: Some(health) } => {
                write!(f, "Up {} ({health})", duration(started))
            }
            Status::Paused { started } => write!(f, "Up {} (Paused)", duration(started)),
            Status::Restarting { code, ended } => write!(f, "Restarting ({code}) {}", ago(ended)),
            Status::Exited { code, ended } => write!(f, "Exited ({code}) {}", ago(ended)),
            Status::Removing => f.write_str("Removal In Progress"),
            Status::Dead => f.write_str("Dead"),
        }
    }
}

/// Twelve digits of an id, with or without its algorithm.
pub fn short(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_go_units() {
        for (bytes, three, four, binary) in [
            (0, "0B", "0B", "0B"),
            (999, "999B", "999B", "999B"),
            (1000, "1kB", "1kB", "1000B"),
            (1024, "1.02kB", "1.024kB", "1KiB"),
            (1_234_567, "1.23MB", "1.235MB", "1.177MiB"),
            (170_000_000, "170MB", "170MB", "162.1MiB"),
            // go-units' own look.
            (999_900, "1e+03kB", "999.9kB", "976.5KiB"),
            (2_500_000_000, "2.5GB", "2.5GB", "2.328GiB"),
            (u64::MAX, "18.4EB", "18.45EB", "16EiB"),
        ] {
            assert_eq!([size(bytes), human_size(bytes), bytes_size(bytes)], [three, four, binary], "{bytes}");
        }
    }

    #[test]
    fn durations_are_go_units() {
        const HOUR: i64 = 3600;
        for (seconds, words) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (59 * 60, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 1799, "About an hour"),
            (HOUR + 1800, "2 hours"),
            (47 * HOUR, "47 hours"),
            (48 * HOUR, "2 days"),
            (13 * 24 * HOUR, "13 days"),
            (14 * 24 * HOUR, "2 weeks"),
            (60 * 24 * HOUR, "2 months"),
            (2 * 365 * 24 * HOUR, "2 years"),
        ] {
            assert_eq!(duration(seconds), words);
        }
        assert_eq!(ago(90), "About a minute ago");
        duration(i64::MAX);
    }

    #[test]
    fn states_are_told_in_dockers_words() {
        let health = |health| Status::Up { started: 300, health };
        for (status, words) in [
            (Status::Created, "Created"),
            (health(None), "Up 5 minutes"),
            (health(Some(Health::Healthy)), "Up 5 minutes (healthy)"),
            (health(Some(Health::Starting)), "Up 5 minutes (health: starting)"),
            (health(Some(Health::Unhealthy)), "Up 5 minutes (unhealthy)"),
            (Status::Paused { started: 300 }, "Up 5 minutes (Paused)"),
            (Status::Restarting { code: 1, ended: 2 }, "Restarting (1) 2 seconds ago"),
            (Status::Exited { code: 0, ended: 3 }, "Exited (0) 3 seconds ago"),
            (Status::Removing, "Removal In Progress"),
            (Status::Dead, "Dead"),
        ] {
            assert_eq!(status.to_string(), words);
        }
    }

    #[test]
    fn ids_are_shortened_without_their_algorithm() {
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short("abc"), "abc");
    }
}
