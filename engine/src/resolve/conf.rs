//! resolv.conf(5).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

const PORT: u16 = 53;
/// As many as the C library asks.
const MAX_SERVERS: usize = 3;
const MAX_SEARCH: usize = 32;
/// The C library's ceilings for the options of these names.
const MAX_NDOTS: usize = 15;
const MAX_TIMEOUT: u64 = 30;
const MAX_ATTEMPTS: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    pub servers: Vec<SocketAddr>,
    pub search: Vec<String>,
    /// A name with as many dots is asked for as it stands before the search list is tried.
    pub ndots: usize,
    /// How long one server may take to answer.
    pub timeout: Duration,
    /// Rounds over all servers.
    pub attempts: usize,
    /// Ask by TCP only.
    pub tcp: bool,
}

impl Default for Conf {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            tcp: false,
        }
    }
}

impl Conf {
    /// Unknown words and malformed lines are passed over, as the C library does. Without a server the
    /// one of this host is asked.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if conf.servers.len() < MAX_SERVERS => {
                    conf.servers.extend(words.next().and_then(server));
                }
                // The last of either stands.
                Some("search") => conf.search = words.take(MAX_SEARCH).map(str::to_owned).collect(),
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        match (name, value.parse::<u64>()) {
            ("ndots", Ok(value)) => self.ndots = small(value, MAX_NDOTS),
            ("timeout", Ok(value)) => self.timeout = Duration::from_secs(value.clamp(1, MAX_TIMEOUT)),
            ("attempts", Ok(value)) => self.attempts = small(value, MAX_ATTEMPTS).max(1),
            ("use-vc", _) => self.tcp = true,
            _ => {}
        }
    }

    /// The full names to ask for, in their order.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let itself = format!("{name}.");
        let mut names: Vec<String> = Vec::with_capacity(self.search.len() + 1);
        for domain in self.search.iter().map(|domain| domain.trim_matches('.')) {
            names.push(if domain.is_empty() { itself.clone() } else { format!("{itself}{domain}.") });
        }
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let at = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(at, itself);
        names
    }
}

fn small(value: u64, most: usize) -> usize {
    usize::try_from(value).unwrap_or(most).min(most)
}

/// An address, of IPv6 perhaps with the interface it is on.
fn server(word: &str) -> Option<SocketAddr> {
    let Some((address, interface)) = word.split_once('%') else {
        return word.parse::<IpAddr>().ok().map(|address| (address, PORT).into());
    };
    let index = interface.parse().ok().or_else(|| {
        let path = format!("/sys/class/net/{interface}/ifindex");
        let is_name = !interface.is_empty() && !interface.contains('/') && !interface.starts_with('.');
        std::fs::read_to_string(path).ok().filter(|_| is_name)?.trim().parse().ok()
    })?;
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, index).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_servers_asks_this_host() {
        assert_eq!(Conf::parse("# nothing\n").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn options_are_taken_within_their_limits() {
        let conf = Conf::parse(
            "nameserver 10.0.0.2\nnameserver fe80::1%7 # scoped\nnameserver bad\nnameserver 10.0.0.3\n\
             nameserver 10.0.0.4\nsearch a.example b.example\noptions ndots:99 timeout:0 attempts:77 use-vc x\n",
        );
        assert_eq!(conf.servers.len(), MAX_SERVERS);
        assert_eq!(conf.servers[1], SocketAddrV6::new("fe80::1".parse().unwrap(), 53, 0, 7).into());
        assert_eq!((conf.ndots, conf.attempts, conf.tcp), (MAX_NDOTS, MAX_ATTEMPTS, true));
        assert_eq!(conf.timeout, Duration::from_secs(1));
    }

    #[test]
    fn the_search_list_comes_before_names_with_few_dots_only() {
        let conf = Conf::parse("search a.example b.example.\noptions ndots:2\n");
        assert_eq!(conf.candidates("hub"), ["hub.a.example.", "hub.b.example.", "hub."]);
        assert_eq!(conf.candidates("x.y.z"), ["x.y.z.", "x.y.z.a.example.", "x.y.z.b.example."]);
        assert_eq!(conf.candidates("hub."), ["hub."]);
    }
}
