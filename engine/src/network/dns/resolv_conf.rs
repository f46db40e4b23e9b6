//! resolv.conf(5) for containers: the host's with the user's words on top.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::network::model::Dns;

/// Where the agent listens in the sandbox.
pub const AGENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// Docker's: a name is asked for as it stands first, with or without dots, since those of containers have none.
const NDOTS: &str = "ndots:0";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Of IPv6 perhaps with the interface they are on.
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

impl ResolvConf {
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().map(str::to_owned)),
                // The last of either stands.
                Some("search") => conf.search = words.map(str::to_owned).collect(),
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => conf.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        conf
    }

    /// What the user names stands in the place of the host's. A search list of "." is an empty one.
    pub fn apply(&mut self, dns: &Dns) {
        if !dns.servers.is_empty() {
            self.servers = dns.servers.iter().map(ToString::to_string).collect();
        }
        if !dns.search.is_empty() {
            self.search = dns.search.iter().filter(|domain| *domain != ".").cloned().collect();
        }
        if !dns.options.is_empty() {
            self.options.clone_from(&dns.options);
        }
    }

    /// In a namespace of its own the host's loopback is not to be had.
    pub fn without_loopback(&mut self) {
        let is_loopback = |word: &String| word.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.servers.retain(|server| !is_loopback(server));
    }

    /// The agent is the only server.
    pub fn ask_the_agent(&mut self) {
        self.servers = vec![AGENT.to_string()];
        if !self.options.iter().any(|option| option.starts_with("ndots:")) {
            self.options.push(NDOTS.to_owned());
        }
    }
}

impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in &self.servers {
            writeln!(f, "nameserver {server}")?;
        }
        for (word, values) in [("search", &self.search), ("options", &self.options)] {
            // One word each: more would be other options, or other lines.
            let is_word = |value: &&String| {
                !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
            };
            let values: Vec<&str> = values.iter().filter(is_word).map(String::as_str).collect();
            if !values.is_empty() {
                writeln!(f, "{word} {}", values.join(" "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# by somebody\nnameserver 127.0.0.53\nnameserver 192.0.2.1\noptions edns0 trust-ad\n\
                        search a.example b.example\n";

    #[test]
    fn the_agent_is_the_only_server_and_the_rest_is_the_host_s() {
        let mut conf = ResolvConf::parse(HOST);
        conf.ask_the_agent();
        let expected = "nameserver 127.0.0.11\nsearch a.example b.example\noptions edns0 trust-ad ndots:0\n";
        assert_eq!(conf.to_string(), expected);
    }

    #[test]
    fn what_the_user_names_replaces_what_the_host_has() {
        let mut conf = ResolvConf::parse(HOST);
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        conf.apply(&Dns {
            servers: vec!["192.0.2.9".parse().unwrap()],
            search: words(&["c.example"]),
            options: words(&["ndots:2", "x\nnameserver 192.0.2.66"]),
        });
        let applied = "nameserver 192.0.2.9\nsearch c.example\noptions ndots:2\n";
        assert_eq!(conf.to_string(), applied);
        conf.ask_the_agent();
        assert_eq!(conf.to_string(), applied.replace("192.0.2.9", "127.0.0.11"));
        conf.apply(&Dns { search: words(&["."]), ..Dns::default() });
        assert!(!conf.to_string().contains("search"));
    }

    #[test]
    fn a_namespace_without_networks_hears_of_no_loopback_server() {
        let mut conf = ResolvConf::parse("nameserver 127.0.0.53\nnameserver ::1\nnameserver fe80::1%eth0\n");
        conf.without_loopback();
        assert_eq!(conf.to_string(), "nameserver fe80::1%eth0\n");
    }
}
