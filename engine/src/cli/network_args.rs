//! Options of a new sandbox's network, a container's or a pod's.

use std::net::IpAddr;

use clap::Args;

use super::network_words::{self as words, Target};
use crate::network::egress;
use crate::network::model::{Dns, EndpointSettings, Networking};
use crate::network::options::{Asked, Wish};
use crate::network::ports::parse;

#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Network to be on, more than once for several: NAME, none, host, container:NAME, or
    /// name=NAME,alias=...,ip=...,ip6=...,mac-address=...,driver-opt=... [default: bridge]
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    network: Vec<String>,
    /// Another name on the first network
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    network_alias: Vec<String>,
    /// IPv4 address on the first network
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// IPv6 address on the first network
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<String>,
    /// Ethernet address on the first network
    #[arg(long, value_name = "ADDRESS")]
    mac_address: Option<String>,
    /// Most that the first network carries in a second: rx-bps=, tx-bps= (bytes: b, k, m, g), rx-pps=, tx-pps=
    /// (packets)
    #[arg(long, value_name = "KEY=VALUE")]
    network_opt: Vec<String>,
    /// Call another container by a name of one's own, on the first network
    #[arg(long, value_name = "CONTAINER[:NAME]")]
    link: Vec<String>,
    /// Server to ask for names [default: the host's]
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<String>,
    /// Domain to look for names in; . for none [default: the host's]
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Option of resolv.conf, as ndots:2
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
    /// Name an address in /etc/hosts, or the host: host-gateway
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
    /// Domain that the host name is in
    #[arg(long, value_name = "DOMAIN")]
    domainname: Option<String>,
    /// Publish a port, or a range: [[ADDRESS:]PORT:]PORT[/PROTOCOL]
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Publish all exposed ports, each at a free one
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Say that a port is served, or a range: PORT[/PROTOCOL]
    #[arg(long, value_name = "PORT")]
    expose: Vec<String>,
    /// What may be reached, and nothing else: deny, or allow=HOST[:PORT],... by name, *.name or prefix
    #[arg(long, value_name = "deny|allow=...")]
    egress: Vec<String>,
}

/// Read, but not looked up.
#[derive(Debug)]
pub enum Network {
    Own(Box<Asked>),
    /// Another container's, by name.
    Joined(String),
}

impl NetworkArgs {
    /// Checks every option. `hostname`: whether one is asked for, too.
    pub fn read(&self, hostname: bool) -> Result<Network, anyhow::Error> {
        let mut wishes = Vec::new();
        for word in &self.network {
            match words::network(word)? {
                Target::Container(name) if self.network.len() == 1 => {
                    return self.joined(hostname).map(|()| Network::Joined(name));
                }
                Target::Container(_) => {
                    anyhow::bail!("conflicting options: --network container:NAME goes with no other network")
                }
                Target::Network(wish) => wishes.push(wish),
            }
        }
        let first = self.first(wishes.first().map(|wish| &wish.settings))?;
        match wishes.first_mut() {
            Some(wish) => wish.settings = first,
            None if first != EndpointSettings::default() => {
                wishes.push(Wish { network: "default".to_owned(), settings: first });
            }
            None => {}
        }
        let links = self.link.iter().map(|word| words::link(word)).collect::<Result<_, _>>()?;
        Ok(Network::Own(Box::new(Asked { networks: wishes, networking: self.networking()?, links })))
    }

    /// What says something of the network, if anything is said: for those who have another's.
    pub fn given(&self) -> Option<&'static str> {
        let lists = [
            ("--network", &self.network),
            ("--network-alias", &self.network_alias),
            ("--network-opt", &self.network_opt),
            ("--link", &self.link),
            ("--dns", &self.dns),
            ("--dns-search", &self.dns_search),
            ("--dns-option", &self.dns_option),
            ("--add-host", &self.add_host),
            ("-p", &self.publish),
            ("--expose", &self.expose),
            ("--egress", &self.egress),
        ];
        let words = [
            ("--ip", self.ip.is_some()),
            ("--ip6", self.ip6.is_some()),
            ("--mac-address", self.mac_address.is_some()),
            ("--domainname", self.domainname.is_some()),
            ("-P", self.publish_all),
        ];
        let mut given = lists.into_iter().map(|(option, list)| (option, !list.is_empty())).chain(words);
        given.find(|(_, given)| *given).map(|(option, _)| option)
    }

    /// Docker's refusals of what goes with no other container's network, in its order.
    fn joined(&self, hostname: bool) -> Result<(), anyhow::Error> {
        let mode = [
            ("hostname", hostname || self.domainname.is_some()),
            ("links", !self.link.is_empty()),
            ("dns", !(self.dns.is_empty() && self.dns_search.is_empty() && self.dns_option.is_empty())),
            ("custom host-to-IP mapping", !self.add_host.is_empty()),
            ("mac-address", self.mac_address.is_some()),
            ("ip", self.ip.is_some() || self.ip6.is_some()),
            ("network-alias", !self.network_alias.is_empty()),
            ("network-opt", !self.network_opt.is_empty()),
        ];
        if let Some((what, _)) = mode.iter().find(|(_, given)| *given) {
            anyhow::bail!("conflicting options: {what} and the network mode");
        }
        if !self.publish.is_empty() || self.publish_all {
            anyhow::bail!("conflicting options: port publishing and the container type network mode");
        }
        if !self.expose.is_empty() {
            anyhow::bail!("conflicting options: port exposing and the container type network mode");
        }
        if !self.egress.is_empty() {
            anyhow::bail!("conflicting options: egress policy and the container type network mode");
        }
        Ok(())
    }

    /// How to be on the first network: as it says itself, and as options say that are for it.
    fn first(&self, own: Option<&EndpointSettings>) -> Result<EndpointSettings, anyhow::Error> {
        let mut settings = own.cloned().unwrap_or_default();
        let conflict = |taken: bool, option: &str, what: &str| match taken {
            true => Err(anyhow::anyhow!(
                "conflicting options: cannot specify both {option} and per-network {what}"
            )),
            false => Ok(()),
        };
        if !self.network_alias.is_empty() {
            conflict(!settings.aliases.is_empty(), "--network-alias", "alias")?;
            settings.aliases =
                self.network_alias.iter().map(|name| words::alias(name)).collect::<Result<_, _>>()?;
        }
        if let Some(word) = &self.ip {
            conflict(settings.ipv4.is_some(), "--ip", "IPv4 address")?;
            settings.ipv4 = Some(words::ipv4(word)?);
        }
        if let Some(word) = &self.ip6 {
            conflict(settings.ipv6.is_some(), "--ip6", "IPv6 address")?;
            settings.ipv6 = Some(words::ipv6(word)?);
        }
        if let Some(word) = &self.mac_address {
            conflict(settings.mac.is_some(), "--mac-address", "MAC address")?;
            settings.mac = Some(words::mac(word)?);
        }
        for word in &self.network_opt {
            words::rate(&mut settings.rates, "--network-opt", word)?;
        }
        Ok(settings)
    }

    fn networking(&self) -> Result<Networking, anyhow::Error> {
        let server = |word: &String| -> Result<IpAddr, anyhow::Error> {
            word.parse().map_err(|_| anyhow::anyhow!("--dns: IP address is not correctly formatted: {word}"))
        };
        let dns = Dns {
            servers: self.dns.iter().map(server).collect::<Result<_, _>>()?,
            search: self.dns_search.iter().map(|word| words::search(word)).collect::<Result<_, _>>()?,
            options: self.dns_option.iter().map(|word| words::dns_option(word)).collect::<Result<_, _>>()?,
        };
        Ok(Networking {
            dns,
            hosts: self.add_host.iter().map(|word| words::host(word)).collect::<Result<_, _>>()?,
            domainname: self.domainname.as_deref().map(words::domainname).transpose()?.unwrap_or_default(),
            publish: parse::publish(&self.publish)?,
            publish_all: self.publish_all,
            expose: parse::expose(&self.expose)?,
            egress: egress::parse(&self.egress)?,
            ..Networking::default()
        })
    }
}

#[cfg(test)]
#[path = "network_args_tests.rs"]
mod tests;
