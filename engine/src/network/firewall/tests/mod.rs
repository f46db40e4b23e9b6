//! In network namespaces of their own, with sandboxes on real bridges.

mod frames;
mod world;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use hull_guest::netlink::route::Rtnetlink;

use super::*;
use crate::network::device::Port;
use crate::network::sysctl::Forwarding;
use frames::*;
use world::*;

fn publish(host: &str, host_port: u16, container: &str) -> PublishedRule {
    PublishedRule {
        protocol: Protocol::Tcp,
        host: host.parse().unwrap(),
        host_port,
        container: container.parse().unwrap(),
        container_port: 80,
    }
}

#[test]
fn networks_reach_the_outside_and_themselves_but_not_each_other() {
    let mut world = World::new();
    let one = world.network("hl1", &["172.20.0.1/16", "fd20::1/64"], false);
    let two = world.network("hl2", &["172.21.0.1/16", "fd21::1/64"], false);
    let inside = world.network("hl3", &["172.22.0.1/16"], true);
    let a = world.sandbox(&one, &["172.20.0.2/16", "fd20::2/64"]);
    let b = world.sandbox(&one, &["172.20.0.3/16", "fd20::3/64"]);
    let c = world.sandbox(&two, &["172.21.0.2/16", "fd21::2/64"]);
    let d = world.sandbox(&inside, &["172.22.0.2/16"]);
    let e = world.sandbox(&inside, &["172.22.0.3/16"]);
    for sandbox in [&a, &b, &c, &d, &e] {
        serve(&sandbox.place, "[::]:80", "sandbox");
    }
    serve(&world.outside, "[::]:80", "outside");
    serve(&world.host, "[::]:80", "host");

    assert_eq!(ask(&a.place, "172.20.0.3:80").unwrap(), "sandbox");
    assert_eq!(ask(&a.place, "[fd20::3]:80").unwrap(), "sandbox");
    assert_eq!(ask_udp(&a.place, "172.20.0.3:80").unwrap(), "sandbox");
    assert_eq!(ask(&a.place, "10.9.0.2:80").unwrap(), "outside");
    assert_eq!(ask_udp(&a.place, "10.9.0.2:80").unwrap(), "outside");
    assert_eq!(ask(&a.place, "172.20.0.1:80").unwrap(), "host");
    assert_eq!(ask(&d.place, "172.22.0.3:80").unwrap(), "sandbox");
    assert_eq!(ask(&world.host, "172.22.0.3:80").unwrap(), "sandbox");
    for address in ["172.21.0.2:80", "172.21.0.1:80", "172.22.0.2:80", "10.9.0.1:80", "[fd21::2]:80"] {
        assert!(ask_briefly(&a.place, address).is_err(), "{address}");
    }
    for address in ["172.22.0.1:80", "10.9.0.2:80", "10.9.0.1:80", "172.20.0.2:80"] {
        assert!(ask_briefly(&d.place, address).is_err(), "{address}");
    }
    // From outside, by a route that leads there.
    for address in ["172.20.0.2:80", "172.22.0.2:80"] {
        assert!(ask_briefly(&world.outside, address).is_err(), "{address}");
    }
}

#[test]
fn published_ports_lead_in_from_outside_and_from_the_host() {
    let mut world = World::new();
    let one = world.network("hl1", &["172.20.0.1/16", "fd20::1/64"], false);
    let two = world.network("hl2", &["172.21.0.1/16"], false);
    let ports = vec![
        publish("0.0.0.0", 8080, "172.20.0.2"),
        publish("10.9.0.1", 8081, "172.20.0.2"),
        publish("::", 8080, "fd20::2"),
        publish("::", 8082, "172.20.0.2"),
        publish("127.0.0.1", 8083, "172.20.0.2"),
    ];
    let a = world.sandbox_with(&one, &["172.20.0.2/16", "fd20::2/64"], ports, None);
    let b = world.sandbox(&two, &["172.21.0.2/16"]);
    serve(&a.place, "[::]:80", "sandbox");
    for port in [8080, 8081, 8082] {
        serve(&world.host, &format!("[::]:{port}"), "relay");
    }
    serve(&world.host, "127.0.0.1:8083", "relay");

    for address in ["10.9.0.1:8080", "10.9.0.1:8081", "[fd09::1]:8080"] {
        assert_eq!(ask(&world.outside, address).unwrap(), "sandbox", "{address}");
        assert_eq!(ask(&world.host, address).unwrap(), "sandbox", "{address}");
    }
    // What cannot be translated meets the supervisor's socket.
    for address in ["127.0.0.1:8080", "[::1]:8080", "127.0.0.1:8083", "[fd09::1]:8082"] {
        assert_eq!(ask(&world.host, address).unwrap(), "relay", "{address}");
    }
    for address in ["10.9.0.1:8080", "10.9.0.1:8081"] {
        assert_eq!(ask(&b.place, address).unwrap(), "relay", "{address}");
        assert_eq!(ask(&a.place, address).unwrap(), "relay", "{address}");
    }
    assert!(ask_briefly(&b.place, "10.9.0.1:8083").is_err());
    assert!(ask_briefly(&b.place, "172.20.0.2:80").is_err());

    // Another takes the port over whose supervisor was killed.
    world.firewall.sweep(|owner| owner != "hl9").unwrap();
    let c = world.sandbox_with(&two, &["172.21.0.3/16"], vec![publish("0.0.0.0", 8080, "172.21.0.3")], None);
    serve(&c.place, "[::]:80", "another");
    assert_eq!(ask(&world.outside, "10.9.0.1:8080").unwrap(), "another");
    world.firewall.sweep(|owner| owner != c.rules.port).unwrap();
    assert_eq!(ask(&world.outside, "10.9.0.1:8080").unwrap(), "relay");
    assert_eq!(ask(&world.outside, "10.9.0.1:8081").unwrap(), "sandbox");
}

#[test]
fn policies_hold_for_what_an_endpoint_begins() {
    let mut world = World::new();
    let one = world.network("hl1", &["172.20.0.1/16", "fd20::1/64"], false);
    let allow = vec![("10.9.0.2/32".parse().unwrap(), Some(80)), ("172.20.0.4/31".parse().unwrap(), None)];
    let egress = Some(EgressRules { allow, group: 77 });
    let published = vec![publish("0.0.0.0", 8080, "172.20.0.2")];
    let a = world.sandbox_with(&one, &["172.20.0.2/16", "fd20::2/64"], published, egress);
    let b = world.sandbox(&one, &["172.20.0.3/16", "fd20::3/64"]);
    let c = world.sandbox(&one, &["172.20.0.4/16", "fd20::4/64"]);
    for sandbox in [&a, &b, &c] {
        serve(&sandbox.place, "[::]:80", "sandbox");
    }
    serve(&world.outside, "[::]:80", "outside");
    serve(&world.outside, "[::]:81", "outside");
    serve(&world.host, "[::]:80", "host");

    assert_eq!(ask(&a.place, "10.9.0.2:80").unwrap(), "outside");
    assert_eq!(ask_udp(&a.place, "10.9.0.2:80").unwrap(), "outside");
    assert_eq!(ask(&a.place, "172.20.0.4:80").unwrap(), "sandbox");
    for address in ["10.9.0.2:81", "172.20.0.3:80", "172.20.0.1:80", "[fd20::3]:80", "[fd20::1]:80"] {
        let refused = ask(&a.place, address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "{address}");
        assert!(ask_udp_briefly(&a.place, address).is_err(), "{address}");
    }
    // Others may begin.
    assert_eq!(ask(&b.place, "172.20.0.2:80").unwrap(), "sandbox");
    assert_eq!(ask(&b.place, "[fd20::2]:80").unwrap(), "sandbox");
    assert_eq!(ask_udp(&b.place, "172.20.0.2:80").unwrap(), "sandbox");
    assert_eq!(ask(&world.host, "172.20.0.2:80").unwrap(), "sandbox");
    assert_eq!(ask(&world.outside, "10.9.0.1:8080").unwrap(), "sandbox");
    assert_eq!(ask(&b.place, "172.20.0.4:80").unwrap(), "sandbox");

    let resolved = |address: &str, port| Allow {
        address: address.parse().unwrap(),
        port,
        lifetime: Duration::from_secs(60),
    };
    for _ in 0..2 {
        world
            .firewall
            .allow(
                &a.rules.port,
                &[resolved("10.9.0.2", Some(81)), resolved("10.9.0.2", Some(81)), resolved("fd20::3", None)],
            )
            .unwrap();
    }
    assert_eq!(ask(&a.place, "10.9.0.2:81").unwrap(), "outside");
    assert_eq!(ask(&a.place, "[fd20::3]:80").unwrap(), "sandbox");
    assert!(ask_briefly(&a.place, "172.20.0.3:80").is_err());

    // A frame with a group's address would go to the others past the host.
    let (raw, seen) = (Raw::at(&a.place, "eth0"), Raw::at(&b.place, "eth0"));
    let mac = a.rules.mac.0;
    raw.send(&frame(EVERYBODY, mac, IP4, &udp4("172.20.0.2", "172.20.0.3", (9, 9), b"unasked")));
    raw.send(&frame(
        EVERYBODY,
        mac,
        IP6,
        &ip6("fe80::42:acff:fe14:2", "ff02::1", 17, &udp((9, 9), b"unasked")),
    ));
    raw.send(&frame(
        b.rules.mac.0,
        mac,
        IP6,
        &ip6("fe80::42:acff:fe14:2", "fe80::1", 17, &udp((9, 9), b"unasked")),
    ));
    raw.send(&frame(
        EVERYBODY,
        mac,
        ARP,
        &[arp(1, mac, "172.20.0.2", "172.20.0.3"), b"the end".to_vec()].concat(),
    ));
    assert!(seen.received_until(b"the end").iter().all(|frame| !frame.ends_with(b"unasked")));

    let ruleset = world.ruleset();
    assert!(ruleset.contains("group 77"), "{ruleset}");
    world.firewall.sweep(|owner| owner != a.rules.port).unwrap();
    let ruleset = world.ruleset();
    assert!(!ruleset.contains(&a.rules.port), "{ruleset}");
}

#[test]
fn frames_that_are_not_a_sandboxs_own_reach_nobody() {
    let mut world = World::new();
    let one = world.network("hl1", &["172.20.0.1/16", "fd20::1/64"], false);
    let a = world.sandbox(&one, &["172.20.0.2/16", "fd20::2/64"]);
    let b = world.sandbox(&one, &["172.20.0.3/16", "fd20::3/64"]);
    let (own, others) = (a.rules.mac.0, b.rules.mac.0);
    let local = "fe80::42:acff:fe14:2";
    let raw = Raw::at(&a.place, "eth0");
    let seen = [Raw::at(&b.place, "eth0"), Raw::at(&world.host, "hl1")];

    let good4 = udp4("172.20.0.2", "172.20.255.255", (9, 9), b"");
    let bad = |ethertype, payload: Vec<u8>| frame(EVERYBODY, own, ethertype, &payload);
    let advertisement = icmp6(134, "::", b"");
    let hidden = [&[58, 0, 1, 4, 0, 0, 0, 0][..], &advertisement].concat();
    let hostile = [
        ("somebody's MAC", frame(EVERYBODY, others, IP4, &good4)),
        ("the bridge's MAC", frame(EVERYBODY, BRIDGE_MAC.0, IP4, &good4)),
        ("somebody's address", bad(IP4, udp4("172.20.0.3", "172.20.255.255", (9, 9), b""))),
        ("no address", bad(IP4, udp4("0.0.0.0", "255.255.255.255", (68, 67), b""))),
        ("somebody's IPv6 address", bad(IP6, ip6("fd20::3", "ff02::1", 17, &udp((9, 9), b"")))),
        ("the gateway's ARP answer", bad(ARP, arp(2, own, "172.20.0.1", "172.20.0.3"))),
        ("ARP with another MAC", bad(ARP, arp(2, others, "172.20.0.2", "172.20.0.3"))),
        ("ARP answer of no address", bad(ARP, arp(2, own, "0.0.0.0", "172.20.0.3"))),
        ("a VLAN tag", bad(0x8100, [&[0, 5, 8, 0][..], &good4].concat())),
        ("a priority tag", bad(0x8100, [&[0, 0, 8, 0][..], &good4].concat())),
        ("two VLAN tags", bad(0x88a8, [&[0, 5, 0x81, 0, 0, 6, 8, 0][..], &good4].concat())),
        ("a router's advertisement", bad(IP6, ip6(local, "ff02::1", 58, &advertisement))),
        ("a hidden advertisement", bad(IP6, ip6(local, "ff02::1", 60, &hidden))),
        ("a redirection", bad(IP6, ip6(local, "ff02::1", 58, &icmp6(137, "fd20::3", b"")))),
        ("a neighbour's advertisement", bad(IP6, ip6(local, "ff02::1", 58, &icmp6(136, "fd20::3", b"")))),
        ("a doubt of an address", bad(IP6, ip6("::", "ff02::1", 58, &icmp6(135, "fd20::3", b"")))),
        ("a DHCP server's answer", bad(IP4, udp4("172.20.0.2", "255.255.255.255", (67, 68), b""))),
        ("a DHCPv6 server's answer", bad(IP6, ip6(local, "ff02::1", 17, &udp((547, 546), b"")))),
        ("the spanning tree's", bad(38, vec![0x42, 0x42, 3, 0, 0, 0])),
        ("LLDP", bad(0x88cc, vec![2, 7, 4])),
        ("a header alone", bad(IP4, Vec::new())),
        ("half an ARP", bad(ARP, arp(1, own, "172.20.0.2", "172.20.0.3")[..16].to_vec())),
        ("half an IP header", bad(IP4, good4[..12].to_vec())),
        (
            "a length beyond the end",
            bad(IP4, {
                let mut packet = good4.clone();
                packet[3] = 200;
                packet
            }),
        ),
    ];
    for (what, frame) in &hostile {
        let marked = [frame, what.as_bytes()].concat();
        // Without the mark where it would fill what is to be missing.
        let whole = !matches!(*what, "a header alone" | "half an ARP" | "half an IP header");
        raw.send(if whole { &marked } else { frame });
    }
    // What is a sandbox's own.
    let fine = [
        bad(IP4, good4.clone()),
        bad(IP6, ip6(local, "ff02::1", 58, &icmp6(136, "fd20::2", b""))),
        bad(IP6, ip6("::", "ff02::1", 58, &icmp6(135, "fd20::2", b""))),
        bad(ARP, arp(1, own, "0.0.0.0", "172.20.0.2")),
        bad(ARP, [arp(1, own, "172.20.0.2", "172.20.0.3"), b"the end".to_vec()].concat()),
    ];
    for frame in &fine {
        assert!(raw.send(frame));
    }
    for seen in seen {
        let frames: Vec<_> = seen
            .received_until(b"the end")
            .into_iter()
            .filter(|frame| frame[6..12] != own || frame[..6] == EVERYBODY)
            .collect();
        for frame in &frames {
            let found = hostile.iter().find(|(what, hostile)| {
                frame.ends_with(what.as_bytes()) || (frame.len() < 40 && frame == hostile)
            });
            assert!(found.is_none(), "{:?} came through", found.map(|(what, _)| what));
        }
        for fine in &fine[..4] {
            assert!(frames.contains(fine), "{fine:?} did not come through {frames:?}");
        }
    }
}

#[test]
fn ports_have_no_business_with_the_host() {
    let mut world = World::new();
    let one = world.network("hl1", &["172.20.0.1/16"], false);
    let a = world.sandbox(&one, &["172.20.0.2/16"]);
    let socket = world.host.enter(|| UdpSocket::bind("0.0.0.0:99").unwrap()).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let raw = Raw::at(&a.place, "eth0");
    let seen = Raw::at(&world.host, &a.rules.port);
    for last in [0, 2, 3, 0x0e] {
        let group = [1, 0x80, 0xc2, 0, 0, last];
        let mac = a.rules.mac.0;
        raw.send(&frame(group, mac, IP4, &udp4("172.20.0.2", "10.9.0.1", (9, 99), b"sneaked")));
        raw.send(&frame(group, mac, ARP, &arp(1, mac, "172.20.0.2", "10.9.0.1")));
    }
    raw.send(&frame(
        BRIDGE_MAC.0,
        a.rules.mac.0,
        IP4,
        &udp4("172.20.0.2", "172.20.0.1", (9, 99), b"the end"),
    ));
    let mut buffer = [0; 16];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"the end");
    let answered = seen.received_until(b"the end");
    assert!(
        answered.iter().all(|frame| frame[12..14] != ARP.to_be_bytes() || frame[21] == 1),
        "{answered:?}"
    );
}

#[test]
fn all_goes_with_the_last_and_what_is_left_over_is_found() {
    let mut world = World::new();
    let one = world.network("hl1", &["172.20.0.1/16", "fd20::1/64"], false);
    let two = world.network("hl2", &["172.21.0.1/16"], false);
    let policy = Some(EgressRules { allow: Vec::new(), group: 3 });
    let a = world.sandbox_with(&one, &["172.20.0.2/16"], vec![publish("0.0.0.0", 80, "172.20.0.2")], policy);
    let b = world.sandbox(&one, &["172.20.0.3/16"]);
    let c = world.sandbox(&two, &["172.21.0.2/16"]);

    // Applied again with something else, nothing of before stays.
    let mut changed = b.rules.clone();
    changed.addresses = vec!["172.20.0.9".parse().unwrap()];
    world.firewall.apply(std::slice::from_ref(&one), std::slice::from_ref(&changed)).unwrap();
    world.firewall.apply(std::slice::from_ref(&one), std::slice::from_ref(&changed)).unwrap();
    let ruleset = world.ruleset();
    assert!(ruleset.contains("172.20.0.9") && !ruleset.contains("172.20.0.3"), "{ruleset}");
    world.firewall.apply(&[], std::slice::from_ref(&a.rules)).unwrap();

    // a was killed, and so was network two.
    let stays = |name: &str| name == "hl1" || name == b.rules.port;
    world.firewall.sweep(stays).unwrap();
    let ruleset = world.ruleset();
    for gone in [&a.rules.port, &c.rules.port, "hl2", "172.20.0.2", "172.21."] {
        assert!(!ruleset.contains(gone), "{gone}: {ruleset}");
    }
    let mut removed = world.devices.sweep(stays).unwrap();
    removed.sort();
    let mut expected = [a.rules.port.clone(), c.rules.port.clone(), "hl2".to_owned()];
    expected.sort();
    assert_eq!(removed, expected);

    // Somebody flushes, and it is made again.
    world.host.enter(|| run_program("nft", &["flush", "ruleset"])).unwrap();
    assert!(!world.firewall.is_there().unwrap());
    world.firewall.repair(&[one], std::slice::from_ref(&b.rules)).unwrap();
    assert!(world.firewall.is_there().unwrap());
    assert!(world.ruleset().contains("172.20.0.3"));

    world.devices.sweep(|_| false).unwrap();
    world.firewall.remove().unwrap();
    world.firewall.remove().unwrap();
    Forwarding::of(&world.host, world.run.path()).restore().unwrap();
    assert_eq!(world.ruleset(), "");
    let left = world.host.enter(|| Rtnetlink::open().unwrap().links().unwrap()).unwrap();
    assert!(left.iter().all(|link| matches!(link.name.as_str(), "lo" | "wan0")), "{left:?}");
    let read = |name: &str| {
        let name = format!("/proc/sys/net/{name}");
        world.host.enter(|| std::fs::read_to_string(name).unwrap().trim().to_owned()).unwrap()
    };
    assert_eq!(read("ipv4/ip_forward"), "0");
    assert_eq!(read("ipv6/conf/all/forwarding"), "0");
    assert_eq!(read("ipv6/conf/wan0/accept_ra"), "1");
}

#[test]
fn rules_hold_where_bridged_packets_meet_iptables() {
    hold_with_br_netfilter("1");
}

#[test]
fn rules_hold_where_bridged_packets_do_not_meet_iptables() {
    hold_with_br_netfilter("0");
}

fn hold_with_br_netfilter(value: &str) {
    let mut world = World::new();
    let switch = |name: &str| std::fs::write(format!("/proc/sys/net/bridge/{name}"), value);
    let switched =
        world.host.enter(|| switch("bridge-nf-call-iptables").and(switch("bridge-nf-call-ip6tables")));
    if switched.unwrap().is_err() && value == "1" {
        println!("skipped: the kernel has no br_netfilter");
        return;
    }
    let one = world.network("hl1", &["172.20.0.1/16", "fd20::1/64"], false);
    let two = world.network("hl2", &["172.21.0.1/16", "fd21::1/64"], false);
    let policy = Some(EgressRules { allow: Vec::new(), group: 3 });
    let ports = vec![publish("0.0.0.0", 8080, "172.20.0.2")];
    let a = world.sandbox_with(&one, &["172.20.0.2/16", "fd20::2/64"], ports, None);
    let b = world.sandbox_with(&one, &["172.20.0.3/16", "fd20::3/64"], Vec::new(), policy);
    let c = world.sandbox(&two, &["172.21.0.2/16", "fd21::2/64"]);
    for sandbox in [&a, &b, &c] {
        serve(&sandbox.place, "[::]:80", "sandbox");
    }
    serve(&world.host, "[::]:8080", "relay");
    serve(&world.outside, "[::]:80", "outside");
    assert_eq!(ask(&a.place, "172.20.0.3:80").unwrap(), "sandbox");
    assert_eq!(ask(&a.place, "[fd20::3]:80").unwrap(), "sandbox");
    assert_eq!(ask(&a.place, "10.9.0.2:80").unwrap(), "outside");
    assert_eq!(ask(&world.outside, "10.9.0.1:8080").unwrap(), "sandbox");
    assert_eq!(ask(&c.place, "10.9.0.1:8080").unwrap(), "relay");
    assert!(ask_briefly(&b.place, "172.20.0.2:80").is_err());
    assert!(ask_briefly(&b.place, "[fd20::2]:80").is_err());
    assert!(ask_briefly(&a.place, "172.21.0.2:80").is_err());
}

#[test]
fn a_tap_is_a_port_as_long_as_its_descriptor() {
    let mut world = World::new();
    let one = world.network("hl1", &["172.20.0.1/16"], false);
    let mac = Mac([2, 0x42, 172, 20, 0, 2]);
    let rules = EndpointRules {
        port: "hvtap".into(),
        mac,
        addresses: vec!["172.20.0.2".parse().unwrap()],
        published: Vec::new(),
        egress: None,
    };
    let began = Instant::now();
    world.firewall.apply(&[], &[rules]).unwrap();
    let port = Port { name: "hvtap", bridge: &one.bridge, mac, mtu: Some(1400) };
    let mut tap = world.devices.add_tap(&port).unwrap();
    println!("an endpoint took {:?}", began.elapsed());
    // Of a machine that has not quite ended.
    let left = std::mem::replace(&mut tap, world.devices.add_tap(&port).unwrap());
    let link = |world: &World| {
        world.host.enter(|| Rtnetlink::open().unwrap().link_by_name("hvtap").unwrap()).unwrap()
    };
    let found = link(&world).unwrap();
    assert!(found.up && found.carrier && found.mtu == 1400 && found.master.is_some(), "{found:?}");
    drop(left);
    assert!(link(&world).is_some());
    drop(tap);
    assert_eq!(link(&world), None);
}
