//! What a sandbox's network namespace has in it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One network namespace for all of a sandbox's containers, made before the first and kept until the
/// sandbox ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    pub namespace: NetworkNamespace,
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Whether questions at 127.0.0.11:53 are passed to the host, as [`super::Request::Dns`] tells them.
    #[serde(default)]
    pub dns: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkNamespace {
    /// The agent makes it.
    #[default]
    New,
    /// Host only: the one whose descriptor the agent was started with.
    Handed,
    /// Host only: the agent's own. There is nothing to configure in it.
    Host,
}

/// A network device and what it is to be. In a guest it is moved into the sandbox's namespace first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name from then on: `eth0`. At most 15 bytes, no `/`, no white space.
    pub name: String,
    /// The address it is found by.
    pub device_mac: Mac,
    /// The address it gets.
    pub mac: Mac,
    #[serde(default)]
    pub mtu: Option<u32>,
    /// IPv4 and IPv6. Without any of IPv6 the device has none, not even a link-local one.
    pub addresses: Vec<Prefix>,
    #[serde(default)]
    pub routes: Vec<Route>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub destination: Prefix,
    /// None: at the link itself.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
}

/// Answered by [`super::Outcome::Done`] when the device is gone from the sandbox's namespace.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisconnectArgs {
    pub name: String,
    /// What its routes and addresses leave behind is not lost: these take the default routes' place.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// An Ethernet address, as `02:42:ac:11:00:02`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no Ethernet address, as 02:42:ac:11:00:02")]
pub struct BadMac(String);

impl Mac {
    /// May belong to one device: neither a group's address nor zero.
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = BadMac;

    /// Six bytes of one or two hexadecimal digits, between colons or hyphens.
    fn from_str(text: &str) -> Result<Mac, BadMac> {
        let bad = || BadMac(text.chars().take(40).collect());
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut words = text.split(separator);
        for byte in &mut bytes {
            let word = words.next().filter(|word| (1..=2).contains(&word.len())).ok_or_else(bad)?;
            if !word.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(word, 16).map_err(|_| bad())?;
        }
        if words.next().is_some() { Err(bad()) } else { Ok(Mac(bytes)) }
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = BadMac;

    fn try_from(text: String) -> Result<Mac, BadMac> {
        text.parse()
    }
}

/// An address and how many of its bits name the network, as `172.17.0.2/16`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Prefix {
    pub address: IpAddr,
    /// At most 32, or 128.
    pub length: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no address with a prefix length, as 172.20.0.0/16 or fd00:1::/64")]
pub struct BadPrefix(String);

impl Prefix {
    /// None: longer than the address.
    pub fn new(address: IpAddr, length: u8) -> Option<Prefix> {
        (length <= bits(address)).then_some(Prefix { address, length })
    }

    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// The same network with no other bits set: `172.17.0.0/16`.
    pub fn network(&self) -> Prefix {
        let host = bits(self.address) - self.length;
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(host.into()).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(host.into()).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        };
        Prefix { address, length: self.length }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4()
            && Prefix { address, length: self.length }.network() == self.network()
    }

    pub fn overlaps(&self, other: &Prefix) -> bool {
        let (wide, narrow) = if self.length <= other.length { (self, other) } else { (other, self) };
        wide.contains(narrow.address)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Prefix, BadPrefix> {
        let bad = || BadPrefix(text.chars().take(60).collect());
        let (address, length) = text.split_once('/').ok_or_else(bad)?;
        if !length.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(bad());
        }
        let (address, length) = (address.parse().map_err(|_| bad())?, length.parse().map_err(|_| bad())?);
        Prefix::new(address, length).ok_or_else(bad)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> String {
        prefix.to_string()
    }
}

impl TryFrom<String> for Prefix {
    type Error = BadPrefix;

    fn try_from(text: String) -> Result<Prefix, BadPrefix> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn prefix_knows_its_network_and_what_is_in_it() {
        assert_eq!(prefix("172.17.5.2/16").network(), prefix("172.17.0.0/16"));
        assert_eq!(prefix("fd00::5/64").network(), prefix("fd00::/64"));
        assert_eq!(prefix("1.2.3.4/0").network(), prefix("0.0.0.0/0"));
        assert_eq!(prefix("1.2.3.4/32").network(), prefix("1.2.3.4/32"));
        assert!(prefix("10.0.0.0/8").contains("10.200.0.1".parse().unwrap()));
        assert!(!prefix("10.0.0.0/8").contains("::a".parse().unwrap()));
        assert!(prefix("10.0.0.0/8").overlaps(&prefix("10.3.0.0/16")));
        assert!(prefix("10.3.0.0/16").overlaps(&prefix("10.0.0.0/8")));
        assert!(!prefix("10.3.0.0/16").overlaps(&prefix("10.4.0.0/16")));
    }

    #[test]
    fn what_is_no_prefix_or_address_is_refused() {
        for text in ["", "1.2.3.4", "1.2.3.4/33", "1.2.3/8", "::/129", "1.2.3.4/+8", "1.2.3.4/", "/8"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
        for text in ["", "02:42", "02:42:ac:11:00:02:03", "02:42:ac:11:00:0g", "+2:42:ac:11:00:02"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
        assert_eq!("2-42-AC-11-0-2".parse::<Mac>().unwrap().to_string(), "02:42:ac:11:00:02");
    }
}
