//! /etc/hosts, /etc/hostname and /etc/resolv.conf of containers, as docker writes them.
//!
//! They are made when a container starts. Who connects to another network later finds its names by asking,
//! which happens before nothing but /etc/hosts: the files stay as they are.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;

use hull_guest::protocol::OverlaidFile;

use super::resolv_conf::ResolvConf;
use crate::network::model::{BRIDGE, HostAddress, Live, Mode, Networking};
use crate::pod;
use crate::store;
use crate::store::db::Database;

/// The longest name that /etc/hosts gets: DNS has none longer.
const MAX_NAME: usize = 253;
/// Of either of the host's files; a container's request has its limit, too.
const MAX_FILE: u64 = 512 * 1024;
const MODE: u32 = 0o644;

const LOCALHOST: &str = "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
                         ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// What a container's files say of its sandbox's network.
#[derive(Debug, Clone, Default)]
pub struct Files {
    pub network: Networking,
    /// What it has on its networks now, the first first.
    pub endpoints: Vec<Live>,
    /// The others that `--link` names on the default network, which knows no names.
    pub links: Vec<FileLink>,
    /// The host as the first network sees it.
    pub host_gateway: Vec<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLink {
    pub addresses: Vec<IpAddr>,
    pub names: Vec<String>,
}

/// The host's own files.
#[derive(Debug, Clone, Default)]
pub struct HostFiles {
    pub hosts: String,
    pub resolv_conf: String,
}

impl HostFiles {
    /// What cannot be read says nothing.
    pub fn read() -> Self {
        let read = |path| {
            let mut bytes = Vec::new();
            if let Ok(file) = File::open(path) {
                let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Self { hosts: read("/etc/hosts"), resolv_conf: read("/etc/resolv.conf") }
    }
}

impl Files {
    /// Of a sandbox as it is now. `network`: the container's; in a pod the pod's counts.
    pub fn load(db: &Database, sandbox: &str, network: &Networking) -> Result<Files, store::Error> {
        let mut files = Files { network: network.clone(), ..Files::default() };
        let pod = match db.pod(sandbox) {
            // Another pod may have that for a name.
            Ok(pod) => Some(pod).filter(|pod| pod.id == sandbox),
            Err(store::Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        // One that a newer release wrote is not run by this one.
        if let Some(config) = pod.and_then(|pod| pod::Config::from_row(&pod).ok()) {
            files.network = config.network;
        }
        for own in db.endpoints_of(sandbox)? {
            let network = db.network(&own.network)?;
            if files.endpoints.is_empty() {
                files.host_gateway = network.settings.pools.iter().map(|pool| pool.gateway).collect();
            }
            if network.name == BRIDGE && !own.settings.links.is_empty() {
                files.links = links(&own.settings.links, &db.neighbours(&network.id)?);
            }
            files.endpoints.extend(own.live);
        }
        Ok(files)
    }

    pub fn overlaid(&self, hostname: &str, host: &HostFiles) -> Vec<OverlaidFile> {
        let file = |target: &str, content: String| OverlaidFile::new(target, content, MODE);
        vec![
            file("/etc/hosts", self.hosts(hostname, host)),
            file("/etc/hostname", format!("{hostname}\n")),
            file("/etc/resolv.conf", self.resolv_conf(host)),
        ]
    }

    pub fn hosts(&self, hostname: &str, host: &HostFiles) -> String {
        let mut text = String::new();
        match self.network.mode {
            // The first line that has a name counts (hosts(5)).
            Mode::Host => {
                self.add_hosts(&mut text);
                text.push_str(&host.hosts);
            }
            Mode::None => {
                // Its only address.
                line(&mut text, "127.0.0.1".parse().ok(), &["localhost", hostname]);
                text.push_str(LOCALHOST);
                self.add_hosts(&mut text);
            }
            Mode::Networks => {
                line(&mut text, "127.0.0.1".parse().ok(), &["localhost"]);
                text.push_str(LOCALHOST);
                self.add_hosts(&mut text);
                let names = full_names(hostname, &self.network.domainname);
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                for live in &self.endpoints {
                    line(&mut text, live.ipv4.map(IpAddr::V4), &names);
                    line(&mut text, live.ipv6.map(IpAddr::V6), &names);
                }
            }
        }
        text
    }

    fn add_hosts(&self, text: &mut String) {
        for (name, address) in &self.network.hosts {
            for address in self.meant(*address) {
                line(text, Some(address), &[name]);
            }
        }
        for link in &self.links {
            let names: Vec<&str> = link.names.iter().map(String::as_str).collect();
            for address in &link.addresses {
                line(text, Some(*address), &names);
            }
        }
    }

    fn meant(&self, address: HostAddress) -> Vec<IpAddr> {
        match (address, self.network.mode) {
            (HostAddress::Address(address), _) => vec![address],
            (HostAddress::HostGateway, Mode::Host) => vec![IpAddr::from([127, 0, 0, 1])],
            // Without a network there is no way to the host, and none is said.
            (HostAddress::HostGateway, Mode::None | Mode::Networks) => self.host_gateway.clone(),
        }
    }

    pub fn resolv_conf(&self, host: &HostFiles) -> String {
        let has_own = self.network.dns != crate::network::model::Dns::default();
        let mut conf = ResolvConf::parse(&host.resolv_conf);
        match self.network.mode {
            Mode::Host if !has_own => return host.resolv_conf.clone(),
            Mode::Host => conf.apply(&self.network.dns),
            Mode::None => {
                conf.apply(&self.network.dns);
                conf.without_loopback();
            }
            Mode::Networks => {
                conf.apply(&self.network.dns);
                conf.ask_the_agent();
            }
        }
        conf.to_string()
    }
}

/// As docker calls them: by alias, host name and own name.
fn links(links: &[crate::network::model::Link], neighbours: &[store::db::Neighbour]) -> Vec<FileLink> {
    let mut found = Vec::new();
    for link in links {
        for neighbour in neighbours.iter().filter(|neighbour| neighbour.id == link.container) {
            let mut names = vec![link.alias.clone()];
            for name in [&neighbour.hostname, &neighbour.name] {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            found.push(FileLink { addresses: neighbour.addresses().collect(), names });
        }
    }
    found
}

/// Host and domain, however they came apart, and the first part alone.
fn full_names(hostname: &str, domainname: &str) -> Vec<String> {
    let full = if domainname.is_empty() { hostname.to_owned() } else { format!("{hostname}.{domainname}") };
    match full.split_once('.') {
        Some((first, _)) => vec![full.clone(), first.to_owned()],
        None => vec![full],
    }
}

/// A line for an address. What is no name is left out: it would be another line, or a comment.
fn line(text: &mut String, address: Option<IpAddr>, names: &[&str]) {
    let names: Vec<&str> = names.iter().copied().filter(|name| is_name(name)).collect();
    if let (Some(address), false) = (address, names.is_empty()) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{address}\t{}", names.join(" "));
    }
}

/// One word of the file.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
