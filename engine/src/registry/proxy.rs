//! Proxies as the environment names them: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, in either case, with
//! the meaning they have for Go's programs, docker among them (golang.org/x/net/http/httpproxy).
//!
//! Every request goes through a tunnel (`CONNECT`, RFC 9110, 9.3.6), also those of plain http.

use std::net::IpAddr;

use ureq::http::Uri;
use ureq::{Proxy, ProxyProtocol};

use super::reach::host_and_port;

/// What is wrong is not repeated: there may be a password in it.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("{variable} is no URL of a proxy, such as http://proxy.example:3128")]
    Url { variable: &'static str },
    #[error("{variable} names a proxy of a kind that hull does not know; http and https are")]
    Kind { variable: &'static str },
}

#[derive(Debug, Clone, Default)]
pub struct Proxies {
    https: Option<Named>,
    http: Option<Named>,
    except: Vec<Exception>,
}

/// A variable that is set: whatever is wrong with it matters only where it is needed.
#[derive(Debug, Clone)]
struct Named {
    variable: &'static str,
    proxy: Option<Proxy>,
}

/// One word of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    All,
    Network {
        address: IpAddr,
        bits: u8,
    },
    Address {
        address: IpAddr,
        port: Option<u16>,
    },
    /// `domain` begins with a dot; `itself`: the name without it counts, too.
    Domain {
        domain: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    pub fn from_environment() -> Self {
        Self::from(|name| std::env::var(name).ok())
    }

    /// Of variables of any origin.
    pub fn from(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |names: [&'static str; 2]| {
            let value = |name: &'static str| Some((name, variable(name).filter(|value| !value.is_empty())?));
            names.into_iter().find_map(value)
        };
        let named = |names| set(names).map(|(variable, url)| Named { variable, proxy: parse_proxy(&url) });
        // Where a CGI runs, a client's `Proxy:` header would come as HTTP_PROXY.
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let except = set(["NO_PROXY", "no_proxy"]).map(|(_, value)| value).unwrap_or_default();
        Self {
            https: named(["HTTPS_PROXY", "https_proxy"]),
            http: if is_cgi { None } else { named(["HTTP_PROXY", "http_proxy"]) },
            except: except.split(',').filter_map(parse_exception).collect(),
        }
    }

    /// The proxy for a URL. What is on this machine is never asked for through one.
    pub fn of(&self, url: &Uri) -> Result<Option<&Proxy>, ProxyError> {
        let named = if url.scheme_str() == Some("https") { &self.https } else { &self.http };
        let (Some(named), Some((host, port))) = (named, host_and_port(url)) else { return Ok(None) };
        if self.is_excepted(host, port) {
            return Ok(None);
        }
        let unknown = ProxyError::Url { variable: named.variable };
        let proxy = named.proxy.as_ref().ok_or(unknown)?;
        match proxy.protocol() {
            ProxyProtocol::Http | ProxyProtocol::Https => Ok(Some(proxy)),
            _ => Err(ProxyError::Kind { variable: named.variable }),
        }
    }

    fn is_excepted(&self, host: &str, port: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        host == "localhost"
            || address.is_some_and(|address| address.to_canonical().is_loopback())
            || self.except.iter().any(|exception| exception.covers(&host, address, port))
    }
}

impl Exception {
    fn covers(&self, host: &str, host_address: Option<IpAddr>, host_port: u16) -> bool {
        let fits = |port: &Option<u16>| port.is_none_or(|port| port == host_port);
        match self {
            Self::All => true,
            Self::Network { address, bits } => {
                host_address.is_some_and(|host| in_network(host, *address, *bits))
            }
            Self::Address { address, port } => host_address == Some(*address) && fits(port),
            Self::Domain { domain, itself, port } => {
                let is_itself = *itself && domain.strip_prefix('.') == Some(host);
                (is_itself || host.ends_with(domain.as_str())) && fits(port)
            }
        }
    }
}

fn in_network(host: IpAddr, network: IpAddr, bits: u8) -> bool {
    let equal = |difference: u128, width: u8| {
        bits == 0 || difference.checked_shr(u32::from(width.saturating_sub(bits))).unwrap_or(0) == 0
    };
    match (host.to_canonical(), network) {
        (IpAddr::V4(host), IpAddr::V4(network)) => equal(u128::from(host.to_bits() ^ network.to_bits()), 32),
        (IpAddr::V6(host), IpAddr::V6(network)) => equal(host.to_bits() ^ network.to_bits(), 128),
        _ => false,
    }
}

fn parse_exception(word: &str) -> Option<Exception> {
    let word = word.trim().to_ascii_lowercase();
    if word.is_empty() {
        return None;
    }
    if word == "*" {
        return Some(Exception::All);
    }
    if let Some((address, bits)) = word.split_once('/') {
        let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse().ok()?);
        let width = if address.is_ipv4() { 32 } else { 128 };
        return (bits <= width).then_some(Exception::Network { address, bits });
    }
    if let Ok(address) = word.parse() {
        return Some(Exception::Address { address, port: None });
    }
    let (host, port) = match word.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (word.as_str(), None),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse() {
        return Some(Exception::Address { address, port });
    }
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    let itself = !host.starts_with('.');
    let domain = if itself { format!(".{host}") } else { host.to_owned() };
    Some(Exception::Domain { domain, itself, port })
}

/// A URL, or just `host:port`.
fn parse_proxy(url: &str) -> Option<Proxy> {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    Proxy::new(&url).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn goes_to(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.of(&url.parse().unwrap()).unwrap().map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_upper_case_wins() {
        let set = proxies(&[
            ("HTTPS_PROXY", "http://user:word@secure.example:3128"),
            ("https_proxy", "http://lower.example"),
            ("http_proxy", "plain.example:8080"),
        ]);
        assert_eq!(goes_to(&set, "https://r.example/v2/"), Some("secure.example".into()));
        assert_eq!(goes_to(&set, "http://r.example/v2/"), Some("plain.example".into()));
        for local in
            ["http://localhost:5000/", "https://127.0.0.1/", "https://127.3.2.1/", "http://[::1]:5000/"]
        {
            assert_eq!(goes_to(&set, local), None, "{local}");
        }
    }

    #[test]
    fn a_cgis_http_proxy_is_ignored() {
        let set = proxies(&[("HTTP_PROXY", "evil.example"), ("REQUEST_METHOD", "GET")]);
        assert_eq!(goes_to(&set, "http://r.example/"), None);
    }

    #[test]
    fn exceptions_mean_what_they_mean_for_docker() {
        let set = |except| proxies(&[("HTTPS_PROXY", "p.example"), ("NO_PROXY", except)]);
        let cases = [
            ("r.example", "https://r.example/", true),
            ("r.example", "https://sub.r.example/", true),
            ("r.example", "https://other-r.example/", false),
            (".r.example", "https://r.example/", false),
            (".r.example", "https://sub.r.example/", true),
            ("*.r.example", "https://sub.r.example/", true),
            ("*.r.example", "https://r.example/", false),
            ("r.example:5000", "https://r.example:5000/", true),
            ("r.example:5000", "https://r.example/", false),
            ("R.Example", "https://r.exAMPLE./", true),
            ("10.0.0.0/8", "https://10.1.2.3/", true),
            ("10.0.0.0/8", "https://11.1.2.3/", false),
            ("10.1.2.3", "https://10.1.2.3:5000/", true),
            ("10.1.2.3:80", "https://10.1.2.3:5000/", false),
            ("fd00::/8", "https://[fd12::1]:5000/", true),
            ("[fd12::1]:5000", "https://[fd12::1]:5000/", true),
            ("0.0.0.0/0", "https://8.8.8.8/", true),
            ("*", "https://anything.example/", true),
            (" a.example , b.example ", "https://b.example/", true),
            ("10.0.0.0/33,:80,,[", "https://r.example/", false),
        ];
        for (except, url, is_direct) in cases {
            assert_eq!(goes_to(&set(except), url).is_none(), is_direct, "{except} of {url}");
        }
    }

    #[test]
    fn proxies_that_cannot_be_used_are_refused_without_their_passwords() {
        for url in ["socks5://me:secret@p.example", "ftp://me:secret@p.example", "http://me:secret@"] {
            let set = proxies(&[("HTTPS_PROXY", url)]);
            assert_eq!(goes_to(&set, "https://localhost:5000/"), None, "{url}");
            let error = set.of(&"https://r.example/".parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains("HTTPS_PROXY") && !error.contains("secret"), "{error}");
        }
    }
}
