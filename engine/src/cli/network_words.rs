//! The words of options about networks, with docker's errors.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hull_guest::protocol::Mac;

use crate::container::size;
use crate::network::model::{HostAddress, Rates};
use crate::network::options::Wish;

/// Of a name in DNS (RFC 1035, 2.3.4), and of a label in it.
const NAME: usize = 253;
const LABEL: usize = 63;

type Result<T> = std::result::Result<T, anyhow::Error>;

/// What `--network` names.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    Container(String),
    Network(Wish),
}

/// `NAME`, `container:NAME`, or `name=NAME,...` with what is wanted on it.
pub fn network(word: &str) -> Result<Target> {
    if let Some(name) = word.strip_prefix("container:") {
        anyhow::ensure!(!name.is_empty(), "--network \"{word}\" is not container:NAME");
        return Ok(Target::Container(name.to_owned()));
    }
    let mut wish = Wish::default();
    if !word.contains('=') {
        anyhow::ensure!(!word.is_empty(), "no name set for network");
        wish.network = word.to_owned();
        return Ok(Target::Network(wish));
    }
    let refused = |why: String| anyhow::anyhow!("invalid argument {word:?} for \"--network\" flag: {why}");
    for field in fields(word) {
        let (key, value) = field.split_once('=').ok_or_else(|| refused(format!("invalid field {field}")))?;
        let settings = &mut wish.settings;
        match key.trim().to_lowercase().as_str() {
            "name" => wish.network = value.to_owned(),
            "alias" => settings.aliases.push(alias(value)?),
            "ip" => settings.ipv4 = Some(ipv4(value)?),
            "ip6" => settings.ipv6 = Some(ipv6(value)?),
            "mac-address" => settings.mac = Some(mac(value)?),
            "driver-opt" => rate(&mut settings.rates, "driver-opt", value)?,
            key => return Err(refused(format!("invalid field key {key}"))),
        }
    }
    if wish.network.is_empty() {
        return Err(refused("network name/id is not specified".to_owned()));
    }
    Ok(Target::Network(wish))
}

/// Between commas, but for those in double quotes around a field.
fn fields(word: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    for char in word.chars() {
        match char {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            char => field.push(char),
        }
    }
    fields.push(field);
    fields
}

pub fn ipv4(word: &str) -> Result<Ipv4Addr> {
    word.parse().map_err(|_| anyhow::anyhow!("invalid IPv4 address: {word}"))
}

pub fn ipv6(word: &str) -> Result<Ipv6Addr> {
    word.parse().map_err(|_| anyhow::anyhow!("invalid IPv6 address: {word}"))
}

pub fn mac(word: &str) -> Result<Mac> {
    let mac = word.parse::<Mac>().ok().filter(|mac| mac.is_unicast());
    mac.ok_or_else(|| anyhow::anyhow!("{word} is not a valid mac address"))
}

/// Adds one bound to those of an endpoint.
pub fn rate(rates: &mut Rates, option: &str, word: &str) -> Result<()> {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    let bytes = key.ends_with("-bps");
    let place = match key {
        "rx-bps" => &mut rates.rx_bps,
        "tx-bps" => &mut rates.tx_bps,
        "rx-pps" => &mut rates.rx_pps,
        "tx-pps" => &mut rates.tx_pps,
        _ => anyhow::bail!("{option} \"{word}\" is not known; there are rx-bps, tx-bps, rx-pps and tx-pps"),
    };
    let rate = if bytes { size::parse(value).ok() } else { value.parse().ok() };
    match rate {
        Some(rate @ 1..) => *place = Some(rate),
        _ => anyhow::bail!(
            "{option} \"{word}\": \"{value}\" is no amount a second{}",
            if bytes { " (b, k, m, g)" } else { "" }
        ),
    }
    Ok(())
}

/// `CONTAINER[:NAME]`: a container, and what it is called.
pub fn link(word: &str) -> Result<(String, String)> {
    let parts: Vec<&str> = word.split(':').collect();
    let (name, called) = match parts.as_slice() {
        [name] => (*name, name.trim_start_matches('/')),
        [name, called] => (*name, *called),
        _ => anyhow::bail!("bad format for links: {word}"),
    };
    anyhow::ensure!(!name.is_empty() && !called.is_empty(), "bad format for links: {word}");
    Ok((name.trim_start_matches('/').to_owned(), alias(called)?))
}

/// What one may be called on a network.
pub fn alias(name: &str) -> Result<String> {
    anyhow::ensure!(is_name(name), "--network-alias \"{name}\" is no name: letters, digits, - . _");
    Ok(name.to_owned())
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`; IPv6 addresses also in brackets.
pub fn host(word: &str) -> Result<(String, HostAddress)> {
    let (name, address) = word.split_once('=').or_else(|| word.split_once(':')).unwrap_or((word, ""));
    if !is_name(name) || address.is_empty() {
        anyhow::bail!("bad format for add-host: {word:?}");
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address = match (address, bare.parse::<IpAddr>()) {
        ("host-gateway", _) => HostAddress::HostGateway,
        (_, Ok(bare)) => HostAddress::Address(bare),
        (_, Err(_)) => anyhow::bail!("invalid IP address in add-host: {address:?}"),
    };
    Ok((name.to_owned(), address))
}

/// A domain to look in; `.` for none.
pub fn search(word: &str) -> Result<String> {
    if word.trim() == "." {
        return Ok(".".to_owned());
    }
    anyhow::ensure!(is_name(word.trim_end_matches('.')), "--dns-search: {word} is not a valid domain");
    Ok(word.to_owned())
}

/// One word of a line of resolv.conf.
pub fn dns_option(word: &str) -> Result<String> {
    let sound = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    anyhow::ensure!(sound, "--dns-option \"{word}\" is not one word");
    Ok(word.to_owned())
}

/// As setdomainname(2) takes it.
pub fn domainname(word: &str) -> Result<String> {
    anyhow::ensure!(
        is_name(word) && word.len() <= LABEL + 1,
        "--domainname \"{word}\" is not a domain's name"
    );
    Ok(word.to_owned())
}

/// Names that DNS and /etc/hosts take.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= NAME && name.split('.').all(label)
}
