//! Other firewalls on the host. Theirs and hull's rules all have to accept a packet, so one that drops what
//! it does not know cuts hull's networks off. Where it has a place for what others want to add, hull adds
//! that its bridges' packets pass, and takes it back with the bridge; they are still judged by hull's own.

mod legacy;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;

use hull_guest::netlink::nft::{self, Batch, Chain, Family, FoundChain, Hook, Rule, Table, Verdict};
use hull_guest::netlink::{NetlinkError, Protocol, Socket};

use super::firewall::{FirewallError, Result, failed};
use super::place::Place;

/// The chain of docker's that is made for others, and the one it is called from.
const DOCKER_USER: &str = "DOCKER-USER";
const FORWARD: &str = "FORWARD";
/// What the names of docker's own bridges begin with.
const DOCKER_BRIDGES: [&str; 2] = ["br-", "docker"];
const FIREWALLD: &str = "firewalld";
/// firewalld's zone for interfaces it is not to judge.
const ZONE: &str = "trusted";

/// A firewall that drops what it does not know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foreign {
    /// `docker`, or the chain's name and table's.
    pub name: String,
    /// The chain or zone that hull has added its bridge to. None: it has none for that.
    pub opened: Option<String>,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.opened {
            Some(place) => write!(
                f,
                "The firewall of {} drops what it does not know: hull has added its bridge to {place}, until \
                 the last container on it ends",
                self.name
            ),
            None => write!(
                f,
                "{} drops what it does not know, and may cut off hull's containers: let it accept what comes \
                 in by hull's bridges (hull0, hl*), and goes out by them",
                self.name
            ),
        }
    }
}

/// Lets a bridge's packets pass other firewalls; says which there are. May be repeated.
pub fn admit(place: &Place, own_table: &str, bridge: &str) -> Result<Vec<Foreign>> {
    let mut socket = open(place)?;
    let chains = nft::chains(&mut socket).map_err(listing)?;
    let mut found = BTreeSet::new();
    for chain in dropping(&chains, own_table) {
        let user = user_chain(&chains, chain);
        let Some(user) = user else {
            found.insert(Foreign { name: describe(chain), opened: None });
            continue;
        };
        admit_at(&mut socket, user, bridge)?;
        found.insert(Foreign { name: "docker".into(), opened: Some(format!("its chain {DOCKER_USER}")) });
    }
    if chains.iter().any(|chain| chain.table == FIREWALLD) {
        let added = firewall_cmd(place, &format!("--add-interface={bridge}"));
        let opened = added.then(|| format!("its zone {ZONE}"));
        found.insert(Foreign { name: FIREWALLD.into(), opened });
    }
    found.extend(legacy::admit(place, bridge)?);
    Ok(found.into_iter().collect())
}

/// The names of those that there are, changing nothing.
pub fn find(place: &Place, own_table: &str) -> Result<Vec<String>> {
    let chains = nft::chains(&mut open(place)?).map_err(listing)?;
    let mut names: BTreeSet<String> = dropping(&chains, own_table)
        .map(|chain| match user_chain(&chains, chain) {
            Some(_) => "docker".into(),
            None => describe(chain),
        })
        .collect();
    if chains.iter().any(|chain| chain.table == FIREWALLD) {
        names.insert(FIREWALLD.into());
    }
    names.extend(legacy::find(place)?);
    Ok(names.into_iter().collect())
}

/// Takes back what `admit` added.
pub fn retract(place: &Place, bridge: &str) -> Result<()> {
    let mut socket = open(place)?;
    let chains = nft::chains(&mut socket).map_err(listing)?;
    let mut batch = Batch::new();
    for found in chains.iter().filter(|chain| chain.name == DOCKER_USER) {
        let chain = Table::new(found.family, &found.table).chain(DOCKER_USER);
        for handle in ours(&mut socket, chain, bridge)? {
            batch.delete_rule(chain, handle);
        }
    }
    batch.commit(&mut socket).map_err(failed(|| format!("take back rules of {bridge} in {DOCKER_USER}")))?;
    if chains.iter().any(|chain| chain.table == FIREWALLD) {
        firewall_cmd(place, &format!("--remove-interface={bridge}"));
    }
    legacy::retract(place, bridge)
}

fn open(place: &Place) -> Result<Socket> {
    let socket = place.enter(|| Socket::open(Protocol::Netfilter)).map_err(FirewallError::Place)?;
    socket.map_err(failed(|| "open a netlink socket".into()))
}

fn listing(source: NetlinkError) -> FirewallError {
    failed(|| "list nftables chains".into())(source)
}

/// Chains that see routed packets, of others, and drop what none of their rules accepts.
fn dropping<'a>(chains: &'a [FoundChain], own_table: &'a str) -> impl Iterator<Item = &'a FoundChain> {
    chains.iter().filter(move |chain| {
        chain.drops
            && chain.hook == Some(Hook::Forward as u32)
            && matches!(chain.family, Family::Inet | Family::Ip | Family::Ip6)
            && chain.table != own_table
    })
}

fn user_chain<'a>(chains: &'a [FoundChain], chain: &FoundChain) -> Option<Chain<'a>> {
    let same = |other: &&FoundChain| {
        chain.name == FORWARD
            && other.name == DOCKER_USER
            && (other.family, &other.table) == (chain.family, &chain.table)
    };
    let found = chains.iter().find(same)?;
    Some(Table::new(found.family, &found.table).chain(&found.name))
}

fn describe(chain: &FoundChain) -> String {
    let family = format!("{:?}", chain.family).to_lowercase();
    format!("Chain {} of the nftables table {family} {}", chain.name, chain.table)
}

/// As `iptables -I DOCKER-USER -i BRIDGE -j ACCEPT`, and `-o`, would write them, so that it can list them. What
/// leads to docker's own bridges is left to docker's rules.
fn admit_at(socket: &mut Socket, chain: Chain, bridge: &str) -> Result<()> {
    if !ours(socket, chain, bridge)?.is_empty() {
        return Ok(());
    }
    let comment = comment(bridge);
    let mut batch = Batch::new();
    batch.insert_rule(Rule::new(chain).oifname(bridge).counter().accept().comment(&comment));
    batch.insert_rule(Rule::new(chain).iifname(bridge).counter().accept().comment(&comment));
    for docker in DOCKER_BRIDGES {
        let rule = Rule::new(chain).iifname(bridge).oifname_prefix(docker).counter();
        batch.insert_rule(rule.verdict(Verdict::Return).comment(&comment));
    }
    batch.commit(socket).map_err(failed(|| format!("add {bridge} to {DOCKER_USER}")))
}

fn ours(socket: &mut Socket, chain: Chain, bridge: &str) -> Result<Vec<u64>> {
    let rules = nft::rules(socket, chain).map_err(failed(|| format!("list the chain {DOCKER_USER}")))?;
    let comment = comment(bridge);
    Ok(rules.iter().filter(|rule| rule.comment.as_ref() == Some(&comment)).map(|rule| rule.handle).collect())
}

fn comment(bridge: &str) -> String {
    format!("hull: {bridge}")
}

/// Whether it did so. firewalld speaks of the host's own namespace only.
fn firewall_cmd(place: &Place, what: &str) -> bool {
    let Place::Current = place else { return false };
    let output = Command::new("firewall-cmd").arg(format!("--zone={ZONE}")).arg(what).output();
    output.is_ok_and(|output| output.status.success())
}
