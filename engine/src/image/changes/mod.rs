//! `import -c`: changes to an image's config, as a Dockerfile says them. Those that need a build are none.

mod health;
mod words;

use serde_json::Value;

use super::spec::{Empty, RunConfig};
use crate::container::signals;
use words::Text;

/// Ports of one range.
const MAX_PORTS: u32 = 65536;
/// Bytes of what variables expand to.
const MAX_VALUE: usize = 1 << 20;

/// Docker's words, as far as it has them.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChangeError {
    #[error("{0} is not a valid change command")]
    Unknown(String),
    #[error("{0} requires at least one argument")]
    AtLeastOne(&'static str),
    #[error("{0} requires exactly one argument")]
    ExactlyOne(&'static str),
    #[error("{0} must have two arguments")]
    Two(&'static str),
    #[error("Syntax error - can't find = in \"{0}\". Must be of the form: name=value")]
    NoEquals(String),
    #[error("{0} names can not be blank")]
    BlankName(&'static str),
    #[error("a quote has no end in \"{0}\"")]
    Quote(String),
    #[error("a variable has no end, or no name, in \"{0}\"")]
    Variable(String),
    #[error("the variables of \"{0}\" expand to more than 1 MiB")]
    Long(String),
    #[error("invalid containerPort: {0}")]
    Port(String),
    #[error("invalid proto: {0}")]
    Protocol(String),
    #[error(transparent)]
    Signal(#[from] signals::BadSignal),
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    Chained,
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    Trigger(String),
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthNone,
    #[error("Unknown type \"{0}\" in HEALTHCHECK (try CMD)")]
    HealthType(String),
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthCommand,
    #[error("Unknown flag: {0}")]
    Flag(String),
    #[error(
        "\"{value}\" is no value for --{flag}: a duration of at least 1ms, or for --retries a number from 1 on"
    )]
    FlagValue { flag: String, value: String },
}

/// Applies changes in order; one text may hold several lines.
pub fn apply(config: &mut RunConfig, changes: &[String]) -> Result<(), ChangeError> {
    let text = changes.join("\n").replace("\\\r\n", "").replace("\\\n", "");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut state = Applying { config, command_given: false };
    lines.into_iter().try_for_each(|line| state.line(line))
}

struct Applying<'a> {
    config: &'a mut RunConfig,
    /// A new entrypoint leaves only a command that was given here.
    command_given: bool,
}

impl Applying<'_> {
    fn line(&mut self, line: &str) -> Result<(), ChangeError> {
        let (name, rest) = split_name(line);
        match name.to_ascii_uppercase().as_str() {
            "CMD" => {
                self.config.cmd = command(rest);
                self.command_given = true;
            }
            "ENTRYPOINT" => {
                self.config.entrypoint = command(rest);
                if !self.command_given {
                    self.config.cmd = None;
                }
            }
            "ENV" => self.env(rest)?,
            "LABEL" => {
                for (key, value) in self.pairs("LABEL", rest)? {
                    self.config.labels.insert(key, value);
                }
            }
            "EXPOSE" => self.expose(rest)?,
            "STOPSIGNAL" => {
                let signal = self.one("STOPSIGNAL", rest)?;
                signals::parse(&signal)?;
                self.config.stop_signal = signal;
            }
            "USER" => self.config.user = self.one("USER", rest)?,
            "VOLUME" => self.volume(rest)?,
            "WORKDIR" => {
                let path = self.one("WORKDIR", rest)?;
                self.config.working_dir = joined(&self.config.working_dir, &path);
            }
            "ONBUILD" => self.on_build(rest)?,
            "HEALTHCHECK" => self.config.healthcheck = Some(health::parse(rest)?),
            _ => return Err(ChangeError::Unknown(name.to_ascii_lowercase())),
        }
        Ok(())
    }

    fn text(&self, word: &str) -> Result<String, ChangeError> {
        Text::new(word, &self.config.env, MAX_VALUE).expand()
    }

    fn one(&self, name: &'static str, rest: &str) -> Result<String, ChangeError> {
        if rest.is_empty() {
            return Err(ChangeError::ExactlyOne(name));
        }
        self.text(rest)
    }

    /// `key=value ...`, or the old form `key rest of the line`.
    fn pairs(&self, name: &'static str, rest: &str) -> Result<Vec<(String, String)>, ChangeError> {
        let all = words::split(rest)?;
        let first = all.first().ok_or(ChangeError::AtLeastOne(name))?;
        if !first.contains('=') {
            let (key, value) = split_name(rest);
            if value.is_empty() {
                return Err(ChangeError::Two(name));
            }
            return Ok(vec![(self.text(key)?, self.text(value)?)]);
        }
        let pair = |word: &&str| {
            let (key, value) =
                word.split_once('=').ok_or_else(|| ChangeError::NoEquals((*word).to_owned()))?;
            let key = self.text(key)?;
            if key.is_empty() { Err(ChangeError::BlankName(name)) } else { Ok((key, self.text(value)?)) }
        };
        all.iter().map(pair).collect()
    }

    fn env(&mut self, rest: &str) -> Result<(), ChangeError> {
        // All of a line see the variables from before it.
        for (key, value) in self.pairs("ENV", rest)? {
            let word = format!("{key}={value}");
            let same = |known: &&mut String| known.split('=').next() == Some(key.as_str());
            match self.config.env.iter_mut().find(same) {
                Some(known) => *known = word,
                None => self.config.env.push(word),
            }
        }
        Ok(())
    }

    fn expose(&mut self, rest: &str) -> Result<(), ChangeError> {
        if rest.is_empty() {
            return Err(ChangeError::AtLeastOne("EXPOSE"));
        }
        for word in words::split(rest)? {
            let word = self.text(word)?;
            let (ports, protocol) = word.split_once('/').unwrap_or((&word, "tcp"));
            let protocol = protocol.to_ascii_lowercase();
            if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
                return Err(ChangeError::Protocol(protocol));
            }
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            let port = |word: &str| word.parse::<u32>().ok().filter(|port| *port < MAX_PORTS);
            let (Some(first), Some(last)) = (port(first), port(last)) else {
                return Err(ChangeError::Port(ports.to_owned()));
            };
            if first > last {
                return Err(ChangeError::Port(ports.to_owned()));
            }
            for port in first..=last {
                self.config.exposed_ports.insert(format!("{port}/{protocol}"), Empty {});
            }
        }
        Ok(())
    }

    fn volume(&mut self, rest: &str) -> Result<(), ChangeError> {
        let paths = match json_list(rest) {
            Some(paths) => paths,
            None => words::split(rest)?.into_iter().map(str::to_owned).collect(),
        };
        if paths.is_empty() {
            return Err(ChangeError::AtLeastOne("VOLUME"));
        }
        for path in paths {
            let path = self.text(path.trim())?;
            if path.is_empty() {
                return Err(ChangeError::EmptyVolume);
            }
            self.config.volumes.insert(path, Empty {});
        }
        Ok(())
    }

    fn on_build(&mut self, rest: &str) -> Result<(), ChangeError> {
        let (name, _) = split_name(rest);
        match name.to_ascii_uppercase().as_str() {
            "" => return Err(ChangeError::AtLeastOne("ONBUILD")),
            "ONBUILD" => return Err(ChangeError::Chained),
            name @ ("FROM" | "MAINTAINER") => return Err(ChangeError::Trigger(name.to_owned())),
            _ => self.config.on_build.get_or_insert_default().push(rest.to_owned()),
        }
        Ok(())
    }
}

/// The first word, and what follows it.
fn split_name(line: &str) -> (&str, &str) {
    line.split_once(char::is_whitespace).map_or((line, ""), |(name, rest)| (name, rest.trim()))
}

/// A JSON list of strings as it is, anything else for a shell.
fn command(rest: &str) -> Option<Vec<String>> {
    match json_list(rest) {
        Some(words) => Some(words),
        None if rest.is_empty() => None,
        None => Some(["/bin/sh", "-c", rest].map(str::to_owned).to_vec()),
    }
}

fn json_list(rest: &str) -> Option<Vec<String>> {
    let Value::Array(values) = serde_json::from_str(rest).ok()? else { return None };
    values.into_iter().map(|value| value.as_str().map(str::to_owned)).collect()
}

/// A relative folder is below the one before it.
fn joined(before: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{before}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests;
