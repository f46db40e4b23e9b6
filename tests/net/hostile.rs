//! Guests that send what no honest one does. Each case ends with an honest frame, behind which nothing is left
//! that is still to come.

use std::net::Ipv4Addr;

use hull_tests::command::Running;
use hull_tests::net::frames::{self, EVERYBODY, Path, hex};
use hull_tests::net::{Guest, Host};

/// An address that is nobody's.
const FOREIGN: [u8; 6] = [0x02, 0x42, 0xde, 0xad, 0xbe, 0xef];

struct Stage<'a> {
    attacker: Guest<'a>,
    victim: Guest<'a>,
    honest: Path,
}

impl<'a> Stage<'a> {
    fn set(host: &'a Host) -> Stage<'a> {
        host.say("network create --ipv6 --subnet fd00:66::/64 --subnet 10.66.0.0/24 arena").exits(0);
        let attacker = host.sleeping("attacker", "--network arena --cap-add NET_ADMIN");
        let victim = host.serving("victim", "--network arena");
        for guest in [&attacker, &victim] {
            guest.bring_frames();
        }
        assert_eq!(attacker.get("victim"), "victim");
        let honest = Path {
            from_mac: attacker.mac("arena"),
            to_mac: victim.mac("arena"),
            from: attacker.address("arena"),
            to: victim.address("arena"),
        };
        Stage { attacker, victim, honest }
    }

    /// Sends the frames, then an honest one; none of them but that arrives, and the victim is as it was.
    #[track_caller]
    fn nothing_arrives(&self, host: &Host, frames: &[Vec<u8>]) {
        let mut heard = self.victim.listen("eth0");
        self.attacker.send("eth0", frames);
        self.attacker.send("eth0", &[self.honest.udp(4000, 4000, b"the honest one")]);
        let lines = all(&mut heard, &hex(b"the honest one"));
        for frame in frames {
            let text = hex(frame);
            // A device may pad.
            let is = |line: &String| {
                line.strip_prefix(&text).is_some_and(|rest| rest.bytes().all(|digit| digit == b'0'))
            };
            assert!(!lines.iter().any(is), "arrived: {text}");
        }
        assert_eq!(self.attacker.get("victim"), "victim");
        assert_eq!(self.victim.get(Host::INTERNET), format!("internet to {}", Host::ADDRESS));
        let gateway = host.namespace.run("ip", ["-o", "neigh"]);
        assert!(!gateway.contains("de:ad:be:ef"), "{gateway}");
    }
}

/// What was heard until a frame with `last` in it came.
#[track_caller]
fn all(heard: &mut Running, last: &str) -> Vec<String> {
    heard.stdout.expect(last);
    heard.stdin.take();
    String::from_utf8_lossy(heard.stdout.seen()).lines().map(str::to_owned).collect()
}

#[test]
fn foreign_addresses_and_spoofed_answers_go_nowhere() {
    let host = Host::new();
    let stage = Stage::set(&host);
    let honest = stage.honest;
    let gateway = Ipv4Addr::new(10, 66, 0, 1);
    let nobody = Ipv4Addr::new(10, 66, 0, 200);
    let me = honest.from_mac;
    let spoofed = [
        // Another MAC, another IP, the victim's own, and none.
        Path { from_mac: FOREIGN, ..honest }.ping(),
        Path { from_mac: honest.to_mac, ..honest }.ping(),
        Path { from_mac: [0; 6], ..honest }.ping(),
        Path { from_mac: EVERYBODY, ..honest }.ping(),
        Path { from: nobody, ..honest }.ping(),
        Path { from: gateway, ..honest }.ping(),
        Path { from: Ipv4Addr::UNSPECIFIED, ..honest }.ping(),
        // "The gateway is here", to the victim and to all; "the victim is here", to the gateway.
        frames::arp(2, (me, gateway), (honest.to_mac, honest.to)),
        frames::arp(1, (me, gateway), ([0; 6], gateway)),
        frames::arp(2, (FOREIGN, honest.from), (honest.to_mac, honest.to)),
        frames::arp(2, (me, honest.to), (EVERYBODY, gateway)),
        // A router, a neighbour and a DHCP server that there are not.
        frames::router_advertisement(me),
        frames::neighbour_advertisement(me, "fd00:66::1".parse().unwrap()),
        frames::neighbour_advertisement(me, stage.victim.address_6("arena").to_string().parse().unwrap()),
        Path { to_mac: EVERYBODY, to: Ipv4Addr::BROADCAST, ..honest }.dhcp_offer(),
        honest.dhcp_offer(),
    ];
    stage.nothing_arrives(&host, &spoofed);
    let shown = stage.victim.sh("ip -6 addr; ip -6 route; ip neigh").text();
    assert!(!shown.contains("2001:db8:bad") && !shown.contains("de:ad:be:ef"), "{shown}");
}

#[test]
fn frames_of_no_use_go_nowhere() {
    let host = Host::new();
    let stage = Stage::set(&host);
    let honest = stage.honest;
    let (me, victim) = (honest.from_mac, honest.to_mac);
    let ping = honest.ping();
    let mut frames = vec![
        // VLAN tags, one and two; kinds that are neither IP nor ARP; IEEE 802.3 with a length: a bridge's own protocol.
        frames::tagged(&ping, 0),
        frames::tagged(&ping, 5),
        frames::tagged(&frames::tagged(&ping, 6), 5),
        frames::ethernet(victim, me, 0x88cc, &[0; 50]),
        frames::ethernet(victim, me, 0x88a8, &[0; 50]),
        frames::ethernet(victim, me, 0x8863, &[0; 50]),
        frames::ethernet([0x01, 0x80, 0xc2, 0, 0, 0], me, 0x0026, &[0x42; 50]),
    ];
    // Runts: of each kind, nothing behind the header or too little.
    for kind in [0x0800, 0x0806, 0x86dd] {
        frames.extend([0, 1, 10, 19].map(|length| frames::ethernet(victim, me, kind, &vec![0x45; length])));
    }
    stage.nothing_arrives(&host, &frames);
}

#[test]
fn oversized_frames_and_wrong_offload_headers_harm_nobody() {
    let host = Host::new();
    let stage = Stage::set(&host);
    // As large as the device lets it, whatever its MTU says.
    stage.attacker.sh("ip link set eth0 mtu 9000 || ip link set eth0 mtu 65535 || true").exits(0);
    let large = [1600, 4000, 8900].map(|length| stage.honest.udp(4001, 4001, &vec![0x55; length]));
    let said = stage.attacker.send("eth0", &large);
    assert!(!said.is_empty());
    // struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, little-endian.
    let segments = hex(&stage.honest.udp(4002, 4002, &vec![0x66; 1300]));
    for header in
        ["01010000000000000000", "0101ffff0100ffffffff", "01034000010022000600", "00810000ffff00000000"]
    {
        let frame = format!("{header}{segments}");
        stage.attacker.exec(["/frames", "offload", "eth0", &frame]);
    }
    stage.attacker.sh("ip link set eth0 mtu 1500").exits(0);
    stage.nothing_arrives(&host, &[]);
    // A flood fills nothing that another needs.
    let flood = hex(&stage.honest.udp(4003, 4003, &[0x77; 1000]));
    stage.attacker.exec(["/frames", "send", "eth0", "20000", &flood]).exits(0);
    stage.nothing_arrives(&host, &[]);
}
