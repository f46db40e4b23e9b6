//! Table `inet`: what the host routes, what it receives itself, and whose addresses are translated.

use hull_guest::netlink::nft::{
    Base, Batch, Chain, Compare, Element, Family, Field, Header, Hook, Meta, Reg, Rule, Set, Table, Type,
    ct_state, ct_status,
};

use super::{LAYOUT, set};

/// Stands in the sets' constants for the instance's table.
const ANY: Table = Table::new(Family::Inet, "");
pub(super) const BRIDGES: Set = Set::new(ANY, "bridges", &[Type::Ifname]);
/// Those of internal networks.
pub(super) const INTERNAL: Set = Set::new(ANY, "internal", &[Type::Ifname]);
/// Each bridge twice: there and back.
pub(super) const SAME: Set = Set::new(ANY, "same", &[Type::Ifname, Type::Ifname]);
/// A bridge and the host's address on it, as far as the network may use it.
pub(super) const GATEWAYS4: Set = Set::new(ANY, "gateways4", &[Type::Ifname, Type::Ipv4]);
pub(super) const GATEWAYS6: Set = Set::new(ANY, "gateways6", &[Type::Ifname, Type::Ipv6]);
/// Sources whose addresses mean nothing outside.
pub(super) const INSIDE4: Set = Set::new(ANY, "inside4", &[Type::Ipv4]).intervals();
pub(super) const INSIDE6: Set = Set::new(ANY, "inside6", &[Type::Ipv6]).intervals();
pub(super) const PORTS: Set = Set::new(ANY, "ports", &[Type::Ifname]);
/// Published ports of one of the host's addresses, and of all.
pub(super) const PUBLISHED4: Set = Set::new(ANY, "published4", &[Type::Ipv4, Type::Protocol, Type::Port]);
pub(super) const PUBLISHED6: Set = Set::new(ANY, "published6", &[Type::Ipv6, Type::Protocol, Type::Port]);
pub(super) const PUBLISHED4_ANY: Set = Set::new(ANY, "published4_any", &[Type::Protocol, Type::Port]);
pub(super) const PUBLISHED6_ANY: Set = Set::new(ANY, "published6_any", &[Type::Protocol, Type::Port]);
/// Where they lead.
pub(super) const DNAT4: Set = Set::new(ANY, "dnat4", PUBLISHED4.key).map(&[Type::Ipv4, Type::Port]);
pub(super) const DNAT6: Set = Set::new(ANY, "dnat6", PUBLISHED6.key).map(&[Type::Ipv6, Type::Port]);
pub(super) const DNAT4_ANY: Set =
    Set::new(ANY, "dnat4_any", PUBLISHED4_ANY.key).map(&[Type::Ipv4, Type::Port]);
pub(super) const DNAT6_ANY: Set =
    Set::new(ANY, "dnat6_any", PUBLISHED6_ANY.key).map(&[Type::Ipv6, Type::Port]);
/// Sources that have an egress policy, and the chain that knows it.
pub(super) const POLICED4: Set = Set::new(ANY, "policed4", &[Type::Ipv4]).verdicts();
pub(super) const POLICED6: Set = Set::new(ANY, "policed6", &[Type::Ipv6]).verdicts();
/// Protocols that have ports, where TCP's are.
pub(super) const WITH_PORTS: Set = Set::new(ANY, "with_ports", &[Type::Protocol]);
/// ICMPv6 that finds neighbours (RFC 4861).
const NEIGHBOURS: Set = Set::new(ANY, "neighbours", &[Type::Icmp6Type]);

/// All sets whose elements have an owner, in no order.
pub(super) const OWNED: [&Set; 18] = [
    &BRIDGES,
    &INTERNAL,
    &SAME,
    &GATEWAYS4,
    &GATEWAYS6,
    &INSIDE4,
    &INSIDE6,
    &PORTS,
    &PUBLISHED4,
    &PUBLISHED6,
    &PUBLISHED4_ANY,
    &PUBLISHED6_ANY,
    &DNAT4,
    &DNAT6,
    &DNAT4_ANY,
    &DNAT6_ANY,
    &POLICED4,
    &POLICED6,
];

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
const ICMP_REDIRECT: u8 = 5;
const ICMP6_REDIRECT: u8 = 137;
/// Before connection tracking.
const RAW: i32 = -300;
/// NF_IP_PRI_NAT_DST, NF_IP_PRI_FILTER, NF_IP_PRI_NAT_SRC
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

pub(super) fn lay_out(batch: &mut Batch, table: Table) {
    batch.add_commented_table(table, LAYOUT);
    for name in ["from_bridge", "to_bridge", "to_host", "published"] {
        batch.add_chain(table.chain(name));
    }
    for shape in OWNED.into_iter().chain([&WITH_PORTS, &NEIGHBOURS]) {
        batch.add_set(&set(table, shape));
    }
    batch.add_elements(
        &set(table, &WITH_PORTS),
        [TCP, UDP, SCTP].map(|number| Element::new([Field::Byte(number)])),
    );
    batch.add_elements(&set(table, &NEIGHBOURS), [135, 136].map(|kind| Element::new([Field::Byte(kind)])));
    ports(batch, table);
    forward(batch, table);
    input(batch, table);
    output(batch, table);
    nat(batch, table);
}

/// A bridge passes some groups' frames (01-80-c2-00-00-0x) on to the host as the port's own, past table
/// `bridge`. Ports have no business with the host.
fn ports(batch: &mut Batch, table: Table) {
    let chain = table.chain("ports_are_silent");
    batch.add_base_chain(chain, Base::filter(Hook::Prerouting, RAW));
    batch.add_rule(Rule::new(chain).iifname_in(PORTS.name).drop());
}

fn forward(batch: &mut Batch, table: Table) {
    let chain = table.chain("forward");
    batch.add_base_chain(chain, Base::filter(Hook::Forward, FILTER));
    batch.add_rule(Rule::new(chain).iifname_in(BRIDGES.name).goto("from_bridge"));
    batch.add_rule(Rule::new(chain).oifname_in(BRIDGES.name).goto("to_bridge"));

    let chain = table.chain("from_bridge");
    // Within a network packets come by here with br_netfilter, or because of a policy.
    batch.add_rule(neighbours(within_network(Rule::new(chain))).accept());
    by_policy(batch, chain);
    batch.add_rule(within_network(Rule::new(chain)).accept());
    batch.add_rule(Rule::new(chain).oifname_in(BRIDGES.name).drop());
    batch.add_rule(Rule::new(chain).iifname_in(INTERNAL.name).drop());
    batch.add_rule(Rule::new(chain).accept());

    let chain = table.chain("to_bridge");
    batch.add_rule(Rule::new(chain).oifname_in(INTERNAL.name).drop());
    batch.add_rule(Rule::new(chain).ct_state(ct_state::ESTABLISHED | ct_state::RELATED).accept());
    batch.add_rule(Rule::new(chain).ct_status(ct_status::DNAT).accept());
    batch.add_rule(Rule::new(chain).drop());
}

fn within_network(rule: Rule) -> Rule {
    rule.meta(Meta::Iifname, Reg(0)).meta(Meta::Oifname, Reg(4)).lookup(SAME.name, Reg(0))
}

fn neighbours(rule: Rule) -> Rule {
    rule.l4proto(ICMP6).payload(Header::Transport, 0, 1, Reg(0)).lookup(NEIGHBOURS.name, Reg(0))
}

fn by_policy(batch: &mut Batch, chain: Chain) {
    batch.add_rule(
        Rule::new(chain).nfproto(Family::Ip).load_saddr(true, Reg(0)).verdict_of(POLICED4.name, Reg(0)),
    );
    batch.add_rule(
        Rule::new(chain).nfproto(Family::Ip6).load_saddr(false, Reg(0)).verdict_of(POLICED6.name, Reg(0)),
    );
}

/// Of the host a network reaches the gateway, and published ports at any address: the supervisors that
/// listen there relay.
fn input(batch: &mut Batch, table: Table) {
    let chain = table.chain("input");
    batch.add_base_chain(chain, Base::filter(Hook::Input, FILTER));
    batch.add_rule(Rule::new(chain).iifname_in(BRIDGES.name).goto("to_host"));

    let chain = table.chain("to_host");
    batch.add_rule(neighbours(Rule::new(chain)).accept());
    by_policy(batch, chain);
    batch.add_rule(Rule::new(chain).ct_state(ct_state::ESTABLISHED | ct_state::RELATED).accept());
    batch.add_rule(Rule::new(chain).iifname_in(INTERNAL.name).drop());
    for (v4, gateways) in [(true, &GATEWAYS4), (false, &GATEWAYS6)] {
        batch.add_rule(
            family(Rule::new(chain), v4)
                .meta(Meta::Iifname, Reg(0))
                .load_daddr(v4, Reg(4))
                .lookup(gateways.name, Reg(0))
                .accept(),
        );
    }
    for (v4, published, any) in [(true, &PUBLISHED4, &PUBLISHED4_ANY), (false, &PUBLISHED6, &PUBLISHED6_ANY)]
    {
        batch.add_rule(destination(Rule::new(chain), v4).lookup(published.name, Reg(0)).accept());
        batch.add_rule(local_port(Rule::new(chain), v4).lookup(any.name, Reg(0)).accept());
    }
    batch.add_rule(Rule::new(chain).drop());
}

/// The host would tell endpoints whose packets it routes back to their bridge that there is a shorter way:
/// one past their policy.
fn output(batch: &mut Batch, table: Table) {
    let chain = table.chain("output");
    batch.add_base_chain(chain, Base::filter(Hook::Output, FILTER));
    for (protocol, kind) in [(ICMP, ICMP_REDIRECT), (ICMP6, ICMP6_REDIRECT)] {
        batch.add_rule(
            Rule::new(chain)
                .oifname_in(BRIDGES.name)
                .l4proto(protocol)
                .payload(Header::Transport, 0, 1, Reg(0))
                .compare(Reg(0), Compare::Eq, &[kind])
                .drop(),
        );
    }
}

fn nat(batch: &mut Batch, table: Table) {
    let prerouting = table.chain("nat_prerouting");
    batch.add_base_chain(prerouting, Base::nat(Hook::Prerouting, DSTNAT));
    batch.add_rule(Rule::new(prerouting).iifname_in(BRIDGES.name).accept());
    batch.add_rule(Rule::new(prerouting).goto("published"));

    let output = table.chain("nat_output");
    batch.add_base_chain(output, Base::nat(Hook::Output, DSTNAT));
    // Martians cannot leave the host, so the supervisor's own socket answers there.
    let loopback = std::net::Ipv4Addr::new(127, 0, 0, 0).into();
    batch.add_rule(Rule::new(output).nfproto(Family::Ip).daddr_in(loopback, 8).accept());
    let loopback = std::net::Ipv6Addr::LOCALHOST.into();
    batch.add_rule(Rule::new(output).nfproto(Family::Ip6).daddr(loopback).accept());
    batch.add_rule(Rule::new(output).goto("published"));

    let chain = table.chain("published");
    for (v4, to, any) in [(true, &DNAT4, &DNAT4_ANY), (false, &DNAT6, &DNAT6_ANY)] {
        // The address takes a register, or four; the port is behind it.
        let port = Reg(if v4 { 1 } else { 4 });
        let family = if v4 { Family::Ip } else { Family::Ip6 };
        let rule = destination(Rule::new(chain), v4).map(to.name, Reg(0), Reg(0));
        batch.add_rule(rule.dnat(family, Reg(0), Some(port)));
        let rule = local_port(Rule::new(chain), v4).map(any.name, Reg(0), Reg(0));
        batch.add_rule(rule.dnat(family, Reg(0), Some(port)));
    }

    let postrouting = table.chain("nat_postrouting");
    batch.add_base_chain(postrouting, Base::nat(Hook::Postrouting, SRCNAT));
    batch.add_rule(Rule::new(postrouting).oifname_in(BRIDGES.name).accept());
    for (v4, inside) in [(true, &INSIDE4), (false, &INSIDE6)] {
        batch.add_rule(
            family(Rule::new(postrouting), v4)
                .load_saddr(v4, Reg(0))
                .lookup(inside.name, Reg(0))
                .masquerade(),
        );
    }
}

fn family(rule: Rule, v4: bool) -> Rule {
    rule.nfproto(if v4 { Family::Ip } else { Family::Ip6 })
}

/// Loads address, protocol and port of the destination.
fn destination(rule: Rule, v4: bool) -> Rule {
    let behind = if v4 { 1 } else { 4 };
    family(rule, v4).load_daddr(v4, Reg(0)).meta(Meta::L4proto, Reg(behind)).payload(
        Header::Transport,
        2,
        2,
        Reg(behind + 1),
    )
}

/// Loads protocol and port, of packets to an address of the host's.
fn local_port(rule: Rule, v4: bool) -> Rule {
    family(rule, v4).daddr_is_local().meta(Meta::L4proto, Reg(0)).payload(Header::Transport, 2, 2, Reg(1))
}
