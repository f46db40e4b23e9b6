//! The words of `--egress`.

use std::net::IpAddr;

use hull_guest::protocol::Prefix;

use super::names::is_name;
use crate::network::model::{Allowed, AllowedHost, Egress};

/// Destinations of one policy: each is a rule.
const MOST: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("invalid egress policy \"{0}\": it is deny, or allow=HOST[:PORT],...")]
    Word(String),
    #[error("invalid egress policy: \"{0}\" is no name, *.name, address or prefix")]
    Host(String),
    #[error("invalid egress policy: \"{0}\" has no port from 1 to 65535 behind its last colon")]
    Port(String),
    #[error("invalid egress policy: more than {MOST} destinations")]
    TooMany,
}

/// All that was given, together. None: nothing was.
pub fn parse(values: &[String]) -> Result<Option<Egress>, ParseError> {
    if values.is_empty() {
        return Ok(None);
    }
    let mut allow = Vec::new();
    for value in values {
        match value.split_once('=') {
            None if value == "deny" => {}
            Some(("allow", destinations)) => {
                for destination in destinations.split(',') {
                    let allowed = one(destination.trim())?;
                    if !allow.contains(&allowed) {
                        allow.push(allowed);
                    }
                    if allow.len() > MOST {
                        return Err(ParseError::TooMany);
                    }
                }
            }
            _ => return Err(ParseError::Word(value.clone())),
        }
    }
    Ok(Some(Egress { allow }))
}

fn one(text: &str) -> Result<Allowed, ParseError> {
    if let Some(prefix) = prefix(text) {
        return Ok(Allowed { host: AllowedHost::Prefix(prefix), port: None });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    // In brackets, or of IPv4; an address of IPv6 without brackets has no port.
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Some(prefix) = bare.and_then(prefix) {
        return Ok(Allowed { host: AllowedHost::Prefix(prefix), port: None });
    }
    let port = match port {
        None => None,
        Some(digits) if !host.is_empty() => {
            Some(port_number(digits).ok_or_else(|| ParseError::Port(text.into()))?)
        }
        Some(_) => return Err(ParseError::Host(text.to_owned())),
    };
    Ok(Allowed { host: parse_host(host)?, port })
}

fn parse_host(text: &str) -> Result<AllowedHost, ParseError> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let found = prefix(bracketed.unwrap_or(text)).filter(|found| found.is_ipv4() || bracketed.is_some());
    if let Some(found) = found {
        return Ok(AllowedHost::Prefix(found));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if is_name(name.strip_prefix("*.").unwrap_or(&name)) {
        return Ok(AllowedHost::Name(name));
    }
    Err(ParseError::Host(text.to_owned()))
}

/// An address, or one with a length; without the bits that name a host.
fn prefix(text: &str) -> Option<Prefix> {
    if let Ok(prefix) = text.parse::<Prefix>() {
        return Some(prefix.network());
    }
    let address: IpAddr = text.parse::<IpAddr>().ok()?.to_canonical();
    Prefix::new(address, if address.is_ipv4() { 32 } else { 128 })
}

fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &[&str]) -> Result<String, String> {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let egress = parse(&values).map_err(|error| error.to_string())?;
        let show = |allowed: Allowed| {
            let host = match allowed.host {
                AllowedHost::Name(name) => name,
                AllowedHost::Prefix(prefix) => prefix.to_string(),
            };
            allowed.port.map_or(host.clone(), |port| format!("{host} {port}"))
        };
        let all: Option<Vec<String>> = egress.map(|egress| egress.allow.into_iter().map(show).collect());
        Ok(all.map_or("none".to_owned(), |all| all.join(", ")))
    }

    #[test]
    fn destinations_are_names_addresses_and_prefixes_with_or_without_a_port() {
        for (values, expected) in [
            (&[][..], "none"),
            (&["deny"], ""),
            (&["deny", "allow=a.example"], "a.example"),
            (&["allow=Deb.Debian.org.:443,*.example.com"], "deb.debian.org 443, *.example.com"),
            (
                &["allow=10.0.0.0/8,10.1.2.3/16:53", "allow=1.2.3.4:80"],
                "10.0.0.0/8, 10.1.0.0/16 53, 1.2.3.4/32 80",
            ),
            (
                &["allow=fd00::/8,[::1]:80,[fd00::/64]:81,2001:db8::1"],
                "fd00::/8, ::1/128 80, fd00::/64 81, 2001:db8::1/128",
            ),
            (&["allow=[::1],[fe80::/10]"], "::1/128, fe80::/10"),
            (&["allow=db:5432,db:5432"], "db 5432"),
            (&["allow=_dmarc.xn--bcher-kva.example"], "_dmarc.xn--bcher-kva.example"),
        ] {
            assert_eq!(shown(values).unwrap(), expected, "{values:?}");
        }
    }

    #[test]
    fn what_is_no_destination_is_refused_by_name() {
        for (value, expected) in [
            ("", "invalid egress policy \"\": it is deny, or allow=HOST[:PORT],..."),
            ("allow", "invalid egress policy \"allow\": it is deny, or allow=HOST[:PORT],..."),
            ("deny=x", "invalid egress policy \"deny=x\": it is deny, or allow=HOST[:PORT],..."),
            ("allow=", "invalid egress policy: \"\" is no name, *.name, address or prefix"),
            ("allow=a.b,", "invalid egress policy: \"\" is no name, *.name, address or prefix"),
            ("allow=*", "invalid egress policy: \"*\" is no name, *.name, address or prefix"),
            ("allow=a.*.b", "invalid egress policy: \"a.*.b\" is no name, *.name, address or prefix"),
            ("allow=1.2.3", "invalid egress policy: \"1.2.3\" is no name, *.name, address or prefix"),
            (
                "allow=1.2.3.4/33",
                "invalid egress policy: \"1.2.3.4/33\" is no name, *.name, address or prefix",
            ),
            ("allow=:80", "invalid egress policy: \":80\" is no name, *.name, address or prefix"),
            ("allow=a:0", "invalid egress policy: \"a:0\" has no port from 1 to 65535 behind its last colon"),
            (
                "allow=a:http",
                "invalid egress policy: \"a:http\" has no port from 1 to 65535 behind its last colon",
            ),
            (
                "allow=bücher.example",
                "invalid egress policy: \"bücher.example\" is no name, *.name, address or prefix",
            ),
            (
                "allow=https://a.b",
                "invalid egress policy: \"https://a.b\" has no port from 1 to 65535 behind its last colon",
            ),
            (
                "allow=fd00::1/8:80",
                "invalid egress policy: \"fd00::1/8\" is no name, *.name, address or prefix",
            ),
        ] {
            assert_eq!(shown(&[value]).unwrap_err(), expected, "{value}");
        }
    }

    #[test]
    fn there_is_a_most_of_destinations() {
        let many: Vec<String> = (0..=MOST).map(|number| format!("allow=n{number}.example")).collect();
        assert_eq!(parse(&many), Err(ParseError::TooMany));
        assert!(parse(&many[1..]).is_ok());
    }
}
