//! Table `bridge`: what may enter through a port.
//!
//! An expression that finds too few bytes to load ends its rule without a match, so every rule that lets a
//! frame pass names what it must have, and what none names is dropped: runts and nonsense, too.

use hull_guest::netlink::nft::{
    Base, Batch, Compare, Element, Family, Field, Header, Hook, Meta, Reg, Rule, Set, Table, Type,
};

use super::{BRIDGE_MAC, LAYOUT, set};

/// Stands in the sets' constants for the instance's table.
const ANY: Table = Table::new(Family::Bridge, "");
/// All ports of hull's.
pub(super) const PORTS: Set = Set::new(ANY, "ports", &[Type::Ifname]);
pub(super) const PORT_MAC: Set = Set::new(ANY, "port_mac", &[Type::Ifname, Type::Ether]);
pub(super) const PORT_IP4: Set = Set::new(ANY, "port_ip4", &[Type::Ifname, Type::Ipv4]);
/// Link-local addresses are among them.
pub(super) const PORT_IP6: Set = Set::new(ANY, "port_ip6", &[Type::Ifname, Type::Ipv6]);
/// Those of endpoints with an egress policy.
pub(super) const POLICED: Set = Set::new(ANY, "policed", &[Type::Ifname]);
pub(super) const POLICED_MAC: Set = Set::new(ANY, "policed_mac", &[Type::Ether]);
/// All sets whose elements have an owner, in no order.
pub(super) const OWNED: [&Set; 6] = [&PORTS, &PORT_MAC, &PORT_IP4, &PORT_IP6, &POLICED, &POLICED_MAC];
/// ICMPv6 that is between neighbours and never leaves their link: solicitations and advertisements of
/// neighbours (RFC 4861), reports of multicast listeners (RFC 2710, RFC 3810).
const NEIGHBOURS: Set = Set::new(ANY, "neighbours", &[Type::Icmp6Type]);
const NEIGHBOUR_TYPES: [u8; 5] = [131, 132, SOLICITATION, ADVERTISEMENT, 143];
const LISTENER_REPORTS: [u8; 2] = [131, 143];

/// Before all others: connection tracking (with br_netfilter) and destination translation are not to see
/// what is dropped here, and must see the addresses that are set here.
const PRIORITY: i32 = -300;
const ETHERTYPE_IP: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IP6: [u8; 2] = [0x86, 0xdd];
const UDP: u8 = 17;
const ICMP6: u8 = 58;
const ROUTER_ADVERTISEMENT: u8 = 134;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
/// The port DHCP servers send from, and DHCPv6's.
const DHCP_SERVER: u16 = 67;
const DHCP6_SERVER: u16 = 547;
/// The group bit of a MAC address.
const GROUP: [u8; 6] = [1, 0, 0, 0, 0, 0];

pub(super) fn lay_out(batch: &mut Batch, table: Table) {
    batch.add_commented_table(table, LAYOUT);
    for name in ["port", "arp", "ip4", "ip6", "police4", "police6", "lead_to_host"] {
        batch.add_chain(table.chain(name));
    }
    for shape in OWNED.into_iter().chain([&NEIGHBOURS]) {
        batch.add_set(&set(table, shape));
    }
    let neighbours = NEIGHBOUR_TYPES.map(|kind| Element::new([Field::Byte(kind)]));
    batch.add_elements(&set(table, &NEIGHBOURS), neighbours);

    let prerouting = table.chain("prerouting");
    batch.add_base_chain(prerouting, Base::filter(Hook::Prerouting, PRIORITY));
    batch.add_rule(Rule::new(prerouting).iifname_in(PORTS.name).jump("port"));
    port(batch, table);
    arp(batch, table);
    ip4(batch, table);
    ip6(batch, table);
    police(batch, table);
}

/// As the frame has it, so tagged frames show their tag here, wherever the tag is kept.
fn ethertype(rule: Rule, kind: [u8; 2]) -> Rule {
    rule.payload(Header::Link, 12, 2, Reg(0)).compare(Reg(0), Compare::Eq, &kind)
}

/// `iifname` and what follows it in the next registers.
fn of_port(rule: Rule) -> Rule {
    rule.meta(Meta::Iifname, Reg(0))
}

fn port(batch: &mut Batch, table: Table) {
    let chain = table.chain("port");
    let foreign = of_port(Rule::new(chain)).payload(Header::Link, 6, 6, Reg(4));
    batch.add_rule(foreign.lookup_not(PORT_MAC.name, Reg(0)).drop());
    batch.add_rule(ethertype(Rule::new(chain), ETHERTYPE_IP).goto("ip4"));
    batch.add_rule(ethertype(Rule::new(chain), ETHERTYPE_IP6).goto("ip6"));
    batch.add_rule(ethertype(Rule::new(chain), ETHERTYPE_ARP).goto("arp"));
    batch.add_rule(Rule::new(chain).drop());
}

/// RFC 826: of Ethernet and IPv4, whose sender is the port's endpoint. Probes (RFC 5227) have no sender's
/// IP address, and change nobody's table.
fn arp(batch: &mut Batch, table: Table) {
    let chain = table.chain("arp");
    let sender_mac = |rule| {
        of_port(header_of_arp(rule)).payload(Header::Network, 8, 6, Reg(4)).lookup(PORT_MAC.name, Reg(0))
    };
    batch.add_rule(
        of_port(sender_mac(Rule::new(chain)))
            .payload(Header::Network, 14, 4, Reg(4))
            .lookup(PORT_IP4.name, Reg(0))
            .accept(),
    );
    batch.add_rule(
        sender_mac(Rule::new(chain))
            .payload(Header::Network, 6, 2, Reg(0))
            .compare(Reg(0), Compare::Eq, &[0, 1])
            .payload(Header::Network, 14, 4, Reg(0))
            .compare(Reg(0), Compare::Eq, &[0; 4])
            .accept(),
    );
    batch.add_rule(Rule::new(chain).drop());
}

/// Hardware type 1, protocol type of IPv4, address lengths 6 and 4.
fn header_of_arp(rule: Rule) -> Rule {
    rule.payload(Header::Network, 0, 4, Reg(0))
        .compare(Reg(0), Compare::Eq, &[0, 1, 8, 0])
        .payload(Header::Network, 4, 2, Reg(0))
        .compare(Reg(0), Compare::Eq, &[6, 4])
}

/// The kernel knows the protocol only of packets whose headers make sense and are all there.
fn well_formed(rule: Rule) -> Rule {
    rule.meta(Meta::L4proto, Reg(0)).compare(Reg(0), Compare::Neq, &[255])
}

fn ip4(batch: &mut Batch, table: Table) {
    let chain = table.chain("ip4");
    batch.add_rule(Rule::new(chain).l4proto(UDP).sport(DHCP_SERVER).drop());
    batch.add_rule(
        of_port(well_formed(Rule::new(chain)))
            .payload(Header::Network, 12, 4, Reg(4))
            .lookup(PORT_IP4.name, Reg(0))
            .goto("police4"),
    );
    batch.add_rule(Rule::new(chain).drop());
}

fn icmp6(rule: Rule, kind: u8) -> Rule {
    rule.l4proto(ICMP6).payload(Header::Transport, 0, 1, Reg(0)).compare(Reg(0), Compare::Eq, &[kind])
}

/// Advertisements speak for their target, and so do solicitations without a source: they ask whether
/// somebody has an address (RFC 4862), which makes who has chosen it give it up.
fn ip6(batch: &mut Batch, table: Table) {
    let chain = table.chain("ip6");
    for kind in [ROUTER_ADVERTISEMENT, REDIRECT] {
        batch.add_rule(icmp6(Rule::new(chain), kind).drop());
    }
    batch.add_rule(Rule::new(chain).l4proto(UDP).sport(DHCP6_SERVER).drop());
    let target = |rule| of_port(rule).payload(Header::Transport, 8, 16, Reg(4));
    batch.add_rule(target(icmp6(Rule::new(chain), ADVERTISEMENT)).lookup_not(PORT_IP6.name, Reg(0)).drop());
    batch.add_rule(
        of_port(well_formed(Rule::new(chain)))
            .payload(Header::Network, 8, 16, Reg(4))
            .lookup(PORT_IP6.name, Reg(0))
            .goto("police6"),
    );
    batch.add_rule(
        target(icmp6(unspecified_source(Rule::new(chain)), SOLICITATION))
            .lookup(PORT_IP6.name, Reg(0))
            .accept(),
    );
    for kind in LISTENER_REPORTS {
        batch.add_rule(icmp6(unspecified_source(Rule::new(chain)), kind).accept());
    }
    batch.add_rule(Rule::new(chain).drop());
}

fn unspecified_source(rule: Rule) -> Rule {
    rule.payload(Header::Network, 8, 16, Reg(0)).compare(Reg(0), Compare::Eq, &[0; 16])
}

/// Packets from and to endpoints with a policy go to the host, which routes them, so that table `inet` sees
/// connections, and in both directions. What has no one receiver cannot be routed, and is dropped on its
/// way from such an endpoint; so are link-local addresses, which are not routed either.
fn police(batch: &mut Batch, table: Table) {
    let (v4, v6) = (table.chain("police4"), table.chain("police6"));
    let from = |chain| Rule::new(chain).iifname_in(POLICED.name);
    batch.add_rule(
        Rule::new(v6)
            .l4proto(ICMP6)
            .payload(Header::Transport, 0, 1, Reg(0))
            .lookup(NEIGHBOURS.name, Reg(0))
            .accept(),
    );
    for chain in [v4, v6] {
        batch.add_rule(
            from(chain)
                .payload(Header::Link, 0, 6, Reg(0))
                .bitwise(Reg(0), &GROUP, &[0; 6])
                .compare(Reg(0), Compare::Neq, &[0; 6])
                .drop(),
        );
    }
    batch.add_rule(
        from(v6)
            .payload(Header::Network, 8, 2, Reg(0))
            .bitwise(Reg(0), &[0xff, 0xc0], &[0; 2])
            .compare(Reg(0), Compare::Eq, &[0xfe, 0x80])
            .drop(),
    );
    for chain in [v4, v6] {
        batch.add_rule(from(chain).goto("lead_to_host"));
        batch.add_rule(
            Rule::new(chain)
                .payload(Header::Link, 0, 6, Reg(0))
                .lookup(POLICED_MAC.name, Reg(0))
                .goto("lead_to_host"),
        );
        batch.add_rule(Rule::new(chain).accept());
    }
    // PACKET_HOST of linux/if_packet.h; the device has taken the frame for somebody else's.
    batch.add_rule(
        Rule::new(table.chain("lead_to_host"))
            .value(Reg(0), Field::Mac(BRIDGE_MAC.0))
            .set_payload(Header::Link, 0, 6, Reg(0))
            .value(Reg(0), Field::Byte(0))
            .set_meta(Meta::Pkttype, Reg(0))
            .accept(),
    );
}
