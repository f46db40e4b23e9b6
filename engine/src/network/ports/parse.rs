//! The words of `-p` and `--expose`, in all forms that docker takes, with docker's errors.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::network::model::{Port, Protocol, Publish};

/// Ports that one container publishes or exposes at most: each is sockets, rows and rules.
pub const MOST: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    #[error("invalid IP address: {0}")]
    Address(String),
    #[error("no port specified: {0}<empty>")]
    NoPort(String),
    #[error("invalid proto: {0}")]
    Protocol(String),
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges { container: String, host: String },
    #[error("invalid publish opts format (should be name=value but got '{0}')")]
    Option(String),
    #[error("invalid port format for --expose: {0}")]
    ExposeFormat(String),
    #[error("invalid range format for --expose: {0}, error: {1}")]
    ExposeRange(String, RangeError),
    /// Docker's proxy for it loses streams and the order of messages among them.
    #[error("SCTP ports cannot be published, only TCP and UDP: {0}")]
    Sctp(String),
    #[error("more than {MOST} ports of one container cannot be published or exposed")]
    TooMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("empty string specified for ports")]
    Empty,
    #[error("ports are numbers from 1 to 65535")]
    Number,
    #[error("the last port comes before the first")]
    Backwards,
}

/// `-p`, as often as it is given: `[[address:][port[-port]]:]port[-port][/protocol]`, or
/// `published=PORT,target=PORT,protocol=WORD`. Duplicates count once.
pub fn publish(specs: &[String]) -> Result<Vec<Publish>, ParseError> {
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for spec in specs {
        let plain = if spec.contains('=') { from_options(spec)? } else { spec.clone() };
        for publish in one_publish(&plain)? {
            if !seen.insert((publish.container, publish.address, publish.host)) {
                continue;
            }
            all.push(publish);
            if all.len() > MOST {
                return Err(ParseError::TooMany);
            }
        }
    }
    Ok(all)
}

/// `--expose`, as often as it is given: `port[-port][/protocol]`. In order, each once.
pub fn expose(specs: &[String]) -> Result<Vec<Port>, ParseError> {
    let mut all = BTreeSet::new();
    for spec in specs {
        if spec.contains(':') {
            return Err(ParseError::ExposeFormat(spec.clone()));
        }
        let (numbers, protocol) = split_protocol(spec);
        let numbers = range(numbers, 1).map_err(|error| ParseError::ExposeRange(spec.clone(), error))?;
        extend(&mut all, numbers, parse_protocol(protocol)?)?;
    }
    Ok(all.into_iter().collect())
}

/// What an image's config says it exposes. What is no port there is no port of the container's.
pub fn exposed_by_image<'a>(ports: impl IntoIterator<Item = &'a str>) -> Result<Vec<Port>, ParseError> {
    let mut all = BTreeSet::new();
    for port in ports {
        let (numbers, protocol) = split_protocol(port);
        if let (Ok(numbers), Ok(protocol)) = (range(numbers, 1), parse_protocol(protocol)) {
            extend(&mut all, numbers, protocol)?;
        }
    }
    Ok(all.into_iter().collect())
}

/// The argument of `hull port`: `80`, `80/tcp`.
pub fn one_port(text: &str) -> Option<Port> {
    let (number, protocol) = split_protocol(text);
    Some(Port { number: port_number(number)?, protocol: parse_protocol(protocol).ok()? })
}

fn extend(
    all: &mut BTreeSet<Port>,
    numbers: RangeInclusive<u16>,
    protocol: Protocol,
) -> Result<(), ParseError> {
    all.extend(numbers.map(|number| Port { number, protocol }));
    if all.len() > MOST { Err(ParseError::TooMany) } else { Ok(()) }
}

/// Docker's long form, as the short one.
fn from_options(spec: &str) -> Result<String, ParseError> {
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for option in spec.split(',') {
        match option.split_once('=') {
            Some(("published", value)) => published = value,
            Some(("target", value)) => target = value,
            Some(("protocol", value)) => protocol = value,
            _ => return Err(ParseError::Option(option.to_owned())),
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

fn one_publish(spec: &str) -> Result<Vec<Publish>, ParseError> {
    let (address, host, container) = parts(spec);
    let (container, protocol) = split_protocol(container);
    if container.is_empty() {
        return Err(ParseError::NoPort(spec.to_owned()));
    }
    let protocol = parse_protocol(protocol)?;
    if protocol == Protocol::Sctp {
        return Err(ParseError::Sctp(spec.to_owned()));
    }
    let address = parse_address(address)?;
    let targets = range(container, 1).map_err(|_| ParseError::ContainerPort(container.to_owned()))?;
    let several = targets.len() > 1;
    let hosts = match host {
        "" => None,
        host => Some(range(host, 0).map_err(|_| ParseError::HostPort(host.to_owned()))?),
    };
    if let Some(hosts) = &hosts
        && several
        && hosts.len() != targets.len()
    {
        return Err(ParseError::Ranges { container: container.to_owned(), host: host.to_owned() });
    }
    let host_of = |index: usize| match &hosts {
        None => None,
        // Docker's other word for any port.
        Some(hosts) if (hosts.start(), hosts.end()) == (&0, &0) => None,
        Some(hosts) if several => hosts.clone().nth(index).map(|port| (port, port)),
        Some(hosts) => Some((*hosts.start(), *hosts.end())),
    };
    if hosts.as_ref().is_some_and(|hosts| *hosts.start() == 0 && hosts.len() > 1) {
        return Err(ParseError::HostPort(host.to_owned()));
    }
    let publish =
        |(index, number)| Publish { container: Port { number, protocol }, address, host: host_of(index) };
    Ok(targets.enumerate().map(publish).collect())
}

/// Address, host's ports and container's ports. An address of IPv6 has colons, with or without brackets.
fn parts(spec: &str) -> (&str, &str, &str) {
    let mut parts = spec.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let host = parts.next().unwrap_or_default();
    (parts.next().unwrap_or_default(), host, container)
}

fn parse_address(text: &str) -> Result<Option<IpAddr>, ParseError> {
    if text.is_empty() {
        return Ok(None);
    }
    let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address: IpAddr = plain.parse().map_err(|_| ParseError::Address(text.to_owned()))?;
    Ok(Some(address.to_canonical()))
}

/// What is before the slash and what is behind it; the latter is tcp if there is nothing.
fn split_protocol(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((ports, "")) => (ports, "tcp"),
        Some(both) => both,
        None => (text, "tcp"),
    }
}

fn parse_protocol(word: &str) -> Result<Protocol, ParseError> {
    word.parse().map_err(|_| ParseError::Protocol(word.to_owned()))
}

fn range(text: &str, least: u16) -> Result<RangeInclusive<u16>, RangeError> {
    if text.is_empty() {
        return Err(RangeError::Empty);
    }
    let number = |text| number(text).filter(|number| *number >= least).ok_or(RangeError::Number);
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if last < first { Err(RangeError::Backwards) } else { Ok(first..=last) }
}

/// Digits only: no sign, no space.
fn number(text: &str) -> Option<u16> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn port_number(text: &str) -> Option<u16> {
    number(text).filter(|number| *number > 0)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
