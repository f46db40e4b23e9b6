//! Egress policies: what an endpoint may begin to talk to.
//!
//! Each endpoint with a policy has a chain, reached by its source addresses, and four sets of destinations
//! that names have led to, which forget by themselves. What was begun by others may be answered. The rest
//! is told to an nflog group, at a bounded rate, and refused.

use std::net::IpAddr;
use std::time::Duration;

use hull_guest::netlink::nft::{
    self, Batch, Chain, Element, Family, Field, Header, Meta, Reg, Reject, Rule, Set, Table, Type, Verdict,
    ct_state,
};
use hull_guest::netlink::{NetlinkError, Socket};
use hull_guest::protocol::Prefix;

use super::{EndpointRules, Firewall, Result, bridge, failed, inet, set};

/// What a policy allows from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRules {
    pub allow: Vec<(Prefix, Option<u16>)>,
    /// The nflog group that is told of refused connections.
    pub group: u16,
}

/// A destination that a name led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allow {
    pub address: IpAddr,
    /// Of TCP, UDP or SCTP. None: all ports, and protocols without any.
    pub port: Option<u16>,
    pub lifetime: Duration,
}

/// The nflog prefix of refused connections.
pub const LOG_PREFIX: &str = "hull egress";
/// How much of a refused packet is told: the headers, with options.
const LOG_BYTES: u32 = 128;
/// How many are told in a second.
const LOG_RATE: u64 = 20;
const LOG_BURST: u32 = 40;

const ADDRESS4: &[Type] = &[Type::Ipv4];
const ADDRESS6: &[Type] = &[Type::Ipv6];
const PORT4: &[Type] = &[Type::Ipv4, Type::Port];
const PORT6: &[Type] = &[Type::Ipv6, Type::Port];
const CHAIN_PREFIX: &str = "egress_";

/// The endpoint's four sets, by what is in their keys' names.
fn sets_of(port: &str) -> [(String, &'static [Type]); 4] {
    [("4", ADDRESS4), ("6", ADDRESS6), ("4_port", PORT4), ("6_port", PORT6)]
        .map(|(suffix, key)| (format!("egress_{port}_{suffix}"), key))
}

fn dynamic<'a>(table: Table<'a>, name: &'a str, key: &'a [Type]) -> Set<'a> {
    Set::new(table, name, key).timeouts()
}

pub(super) fn add(
    batch: &mut Batch,
    inet: Table,
    bridge: Table,
    endpoint: &EndpointRules,
    rules: &EgressRules,
) {
    let port = endpoint.port.as_str();
    let name = format!("{CHAIN_PREFIX}{port}");
    let chain = inet.chain(&name);
    batch.create_chain(chain);
    let sets = sets_of(port);
    for (name, key) in &sets {
        batch.add_set(&dynamic(inet, name, key));
    }
    fill_chain(batch, chain, &sets, rules);

    let policed = Element::new([Field::Name(port)]).comment(port);
    batch.create_elements(&set(bridge, &bridge::POLICED), [policed]);
    let address = Element::new([Field::Mac(endpoint.mac.0)]).comment(port);
    batch.add_elements(&set(bridge, &bridge::POLICED_MAC), [address]);
    for address in &endpoint.addresses {
        let map = if address.is_ipv4() { &inet::POLICED4 } else { &inet::POLICED6 };
        let element = Element::new([Field::from(*address)]).verdict(Verdict::Jump(&name)).comment(port);
        batch.create_elements(&set(inet, map), [element]);
    }
}

fn fill_chain(batch: &mut Batch, chain: Chain, sets: &[(String, &[Type]); 4], rules: &EgressRules) {
    let answers = Rule::new(chain).ct_state(ct_state::ESTABLISHED | ct_state::RELATED);
    batch.add_rule(answers.verdict(Verdict::Return));
    for (prefix, port) in &rules.allow {
        let rule = family(Rule::new(chain), prefix.address.is_ipv4()).daddr_in(prefix.address, prefix.length);
        let rule = match port {
            Some(port) => {
                let rule = rule.meta(Meta::L4proto, Reg(0)).lookup(inet::WITH_PORTS.name, Reg(0));
                rule.dport(*port)
            }
            None => rule,
        };
        batch.add_rule(rule.verdict(Verdict::Return));
    }
    for (name, key) in sets {
        let v4 = key.first() == Some(&Type::Ipv4);
        let rule = family(Rule::new(chain), v4);
        let rule = if key.len() > 1 {
            let port = Reg(if v4 { 1 } else { 4 });
            rule.meta(Meta::L4proto, Reg(0))
                .lookup(inet::WITH_PORTS.name, Reg(0))
                .load_daddr(v4, Reg(0))
                .payload(Header::Transport, 2, 2, port)
        } else {
            rule.load_daddr(v4, Reg(0))
        };
        batch.add_rule(rule.lookup(name, Reg(0)).verdict(Verdict::Return));
    }
    batch.add_rule(Rule::new(chain).limit(LOG_RATE, LOG_BURST).log(rules.group, LOG_PREFIX, LOG_BYTES));
    batch.add_rule(Rule::new(chain).reject_tcp());
    batch.add_rule(Rule::new(chain).reject(Reject::Prohibited));
}

fn family(rule: Rule, v4: bool) -> Rule {
    rule.nfproto(if v4 { Family::Ip } else { Family::Ip6 })
}

/// Deletes the chains and sets of all endpoints but those that `stays` knows. What leads to the chains must
/// be deleted before.
pub(super) fn delete(
    batch: &mut Batch,
    socket: &mut Socket,
    table: &str,
    stays: &impl Fn(&str) -> bool,
) -> Result<()> {
    let inet = Table::new(Family::Inet, table);
    let chains = nft::chains(socket).map_err(failed(|| "list nftables chains".into()))?;
    let ours = chains.iter().filter(|chain| chain.family == Family::Inet && chain.table == table);
    for chain in ours {
        let Some(port) = chain.name.strip_prefix(CHAIN_PREFIX).filter(|port| !stays(port)) else { continue };
        batch.flush_chain(inet.chain(&chain.name)).delete_chain(inet.chain(&chain.name));
        for (name, key) in sets_of(port) {
            batch.delete_set(&dynamic(inet, &name, key));
        }
    }
    Ok(())
}

impl Firewall {
    /// Lets the endpoint begin to talk to these, until their time is over; it begins anew for such that it
    /// may already.
    pub fn allow(&mut self, port: &str, destinations: &[Allow]) -> Result<()> {
        let mut batch = Batch::new();
        for (name, key) in sets_of(port) {
            let table = Table::new(Family::Inet, &self.table);
            let set = dynamic(table, &name, key);
            let mut wanted: Vec<(Vec<u8>, Element)> = Vec::new();
            for destination in destinations {
                let Some(element) = element(destination, key) else { continue };
                if wanted.iter().all(|(key, _)| key != element.key()) {
                    wanted.push((element.key().to_vec(), element));
                }
            }
            if wanted.is_empty() {
                continue;
            }
            let known = nft::elements(&mut self.socket, &set).map_err(allow_failed(port))?;
            let again = known.into_iter().filter(|found| wanted.iter().any(|(key, _)| *key == found.key));
            batch.delete_elements(&set, again.map(|found| Element::of_key(found.key)));
            batch.add_elements(&set, wanted.into_iter().map(|(_, element)| element));
        }
        batch.commit(&mut self.socket).map_err(allow_failed(port))
    }
}

/// None: it belongs into another set than that of such keys.
fn element(destination: &Allow, key: &[Type]) -> Option<Element<'static>> {
    let address = Field::from(destination.address);
    let element = match (destination.address, destination.port) {
        (IpAddr::V4(_), None) if key == ADDRESS4 => Element::new([address]),
        (IpAddr::V6(_), None) if key == ADDRESS6 => Element::new([address]),
        (IpAddr::V4(_), Some(port)) if key == PORT4 => Element::new([address, Field::Port(port)]),
        (IpAddr::V6(_), Some(port)) if key == PORT6 => Element::new([address, Field::Port(port)]),
        _ => return None,
    };
    Some(element.timeout(destination.lifetime))
}

fn allow_failed(port: &str) -> impl FnOnce(NetlinkError) -> super::FirewallError {
    let port = port.to_owned();
    failed(move || format!("let {port} reach what its policy allows"))
}
