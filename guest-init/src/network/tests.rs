//! In network namespaces of their own, with a pair of devices for a slot and what it is plugged into. (Root.)

use std::fs::File;

use rustix::event::{PollFd, PollFlags, poll};

use super::*;
use crate::netlink::route::Veth;
use crate::protocol::{Mac, Prefix};

const SLOT_MAC: Mac = Mac([2, 0x68, 0x75, 0x6c, 0, 1]);

fn interface(name: &str, addresses: &[&str], routes: &[(&str, Option<&str>)]) -> Interface {
    let route = |(destination, gateway): &(&str, Option<&str>)| Route {
        destination: destination.parse().unwrap(),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
    };
    Interface {
        name: name.into(),
        device_mac: SLOT_MAC,
        mac: Mac([2, 0x42, 10, 1, 0, 2]),
        mtu: Some(1400),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        routes: routes.iter().map(route).collect(),
    }
}

/// The thread is in a new namespace afterwards, with a device `a` as the slot, and its other end `b`.
fn machine() -> Rtnetlink {
    namespace::make().unwrap();
    let mut route = Rtnetlink::open().unwrap();
    let pair =
        Veth { name: "a", mac: Some(SLOT_MAC), peer_name: "b", peer_mac: None, peer_netns: None, mtu: None };
    route.add_veth(&pair).unwrap();
    route
}

fn config(namespace: NetworkNamespace, interfaces: Vec<Interface>) -> NetworkConfig {
    NetworkConfig { namespace, interfaces, dns: false }
}

/// Waits until the kernel has taken note of the carrier.
fn until_announced(network: &mut Network) {
    while !network.connected[0].announced {
        poll(&mut [PollFd::new(network.news().unwrap(), PollFlags::IN)], None).unwrap();
        network.on_news();
    }
}

fn sysctl(path: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/{path}")).unwrap().trim().to_owned()
}

#[test]
fn slot_of_a_guest_becomes_an_interface_and_a_slot_again() {
    let mut machine = machine();
    let wanted = interface(
        "eth0",
        &["10.1.0.2/16", "fd00:1::2/64"],
        &[("0.0.0.0/0", Some("172.31.0.1")), ("172.31.0.1/32", None), ("::/0", Some("fd00:1::1"))],
    );
    let mut network =
        Network::set_up(&config(NetworkNamespace::New, vec![wanted]), Place::Guest, None).unwrap();
    assert!(!network.is_hosts());
    assert_eq!(machine.link_by_name("a").unwrap(), None, "not in the machine's own namespace");
    let mut inside = Rtnetlink::open().unwrap();
    let link = inside.link_by_name("eth0").unwrap().unwrap();
    assert_eq!((link.mac, link.mtu, link.up), (Some(Mac([2, 0x42, 10, 1, 0, 2])), 1400, true));
    assert!(!link.carrier, "the slot need not be plugged in yet");
    assert!(inside.link_by_name("lo").unwrap().unwrap().up);
    let defaults: Vec<_> = inside.routes().unwrap().into_iter().filter(RouteEntry::is_default).collect();
    assert_eq!(defaults.len(), 2, "{defaults:?}");
    let other = machine.link_by_name("b").unwrap().unwrap();
    machine.set_up(other.index).unwrap();
    until_announced(&mut network);
    // Link-local as RFC 4291, appendix A, makes it of the MAC.
    let link_local: Prefix = "fe80::42:aff:fe01:2/64".parse().unwrap();
    assert!(inside.addresses().unwrap().contains(&(link.index, link_local)));
    assert_eq!(
        (sysctl("ipv6/conf/eth0/accept_ra"), sysctl("ipv4/conf/eth0/arp_notify")),
        ("0".into(), "1".into())
    );

    network.disconnect(&DisconnectArgs { name: "eth0".into(), routes: vec![] }).unwrap();
    let slot = machine.link_by_mac(SLOT_MAC).unwrap().unwrap();
    assert_eq!((slot.up, slot.mtu), (false, 1500));
    let left = inside.links().unwrap();
    assert!(left.iter().all(|link| link.name != "eth0"), "{left:?}");
    let gone = network.disconnect(&DisconnectArgs { name: "eth0".into(), routes: vec![] }).unwrap_err();
    assert_eq!(gone.message, "The sandbox has no device eth0");

    network.connect(&interface("net1", &["10.2.0.2/16"], &[])).unwrap();
    let link = inside.link_by_name("net1").unwrap().unwrap();
    assert_eq!(sysctl("ipv6/conf/net1/disable_ipv6"), "1");
    let given: Vec<_> = inside.addresses().unwrap().into_iter().filter(|(at, _)| *at == link.index).collect();
    assert_eq!(given, [(link.index, "10.2.0.2/16".parse().unwrap())]);
    assert_eq!(network.connect(&interface("net1", &[], &[])).unwrap_err().kind, ErrorKind::State);
}

#[test]
fn device_that_cannot_be_configured_is_a_slot_again() {
    let mut machine = machine();
    let mut network = Network::set_up(&config(NetworkNamespace::New, vec![]), Place::Guest, None).unwrap();
    let wanted = interface("eth0", &["10.1.0.2/16"], &[("0.0.0.0/0", Some("192.0.2.1"))]);
    let error = network.connect(&wanted).unwrap_err();
    assert!(error.message.starts_with("Failed to set the route to 0.0.0.0/0: "), "{error}");
    assert_eq!(machine.link_by_mac(SLOT_MAC).unwrap().map(|link| link.up), Some(false));
    network.connect(&interface("eth0", &["10.1.0.2/16"], &[])).unwrap();
    let mut foreign = interface("eth1", &[], &[]);
    foreign.device_mac = Mac([2, 9, 9, 9, 9, 9]);
    let missing = network.connect(&foreign).unwrap_err();
    assert_eq!(missing.message, "There is no device of the address 02:09:09:09:09:09");
}

#[test]
fn handed_namespace_is_entered_and_its_device_removed_with_its_other_end() {
    namespace::make().unwrap();
    let handed = std::thread::spawn(|| {
        machine();
        File::open("/proc/thread-self/ns/net").unwrap()
    });
    let handed = handed.join().unwrap();
    // As an agent before has left it.
    let before = std::thread::scope(|scope| {
        let before = scope.spawn(|| {
            namespace::enter(handed.try_clone().unwrap().into()).unwrap();
            namespaces::loopback_up().unwrap();
            ResolverSockets::open().unwrap()
        });
        before.join().unwrap()
    });
    drop(before);
    let mut config = config(NetworkNamespace::Handed, vec![interface("eth0", &["10.1.0.2/16"], &[])]);
    config.dns = true;
    config.interfaces[0].addresses.push("10.1.0.3/16".parse().unwrap());
    let mut network = Network::set_up(&config, Place::Host, Some(handed.into())).unwrap();
    let mut inside = Rtnetlink::open().unwrap();
    assert!(inside.link_by_name("eth0").unwrap().is_some() && inside.link_by_name("b").unwrap().is_some());
    let b = inside.link_by_name("b").unwrap().unwrap().index;
    inside.add_address(b, "10.7.0.2/24".parse().unwrap()).unwrap();
    inside.set_up(b).unwrap();
    network.disconnect(&DisconnectArgs { name: "eth0".into(), routes: vec![] }).unwrap();
    assert_eq!(inside.links().unwrap().len(), 1, "only lo");
}

#[test]
fn what_no_device_can_be_is_refused_in_one_line() {
    let good = || interface("eth0", &["10.1.0.2/16"], &[]);
    check_interface(&good()).unwrap();
    type Spoil = Box<dyn Fn(&mut Interface)>;
    let bad: [(&str, Spoil); 9] = [
        ("empty name", Box::new(|it| it.name = String::new())),
        ("long name", Box::new(|it| it.name = "e".repeat(16))),
        ("path", Box::new(|it| it.name = "../x".into())),
        ("loopback", Box::new(|it| it.name = "lo".into())),
        ("a sysctl's name", Box::new(|it| it.name = "all".into())),
        ("group's address", Box::new(|it| it.mac = Mac([1, 0, 0, 0, 0, 1]))),
        ("mtu", Box::new(|it| it.mtu = Some(10))),
        ("addresses", Box::new(|it| it.addresses = vec!["10.0.0.1/8".parse().unwrap(); 65])),
        (
            "gateway",
            Box::new(|it| {
                let gateway = Some("fd00::1".parse().unwrap());
                it.routes = vec![Route { destination: "0.0.0.0/0".parse().unwrap(), gateway }];
            }),
        ),
    ];
    for (what, spoil) in bad {
        let mut interface = good();
        spoil(&mut interface);
        let error = check_interface(&interface).unwrap_err();
        assert_eq!((error.kind, error.message.lines().count()), (ErrorKind::Invalid, 1), "{what}: {error}");
    }
    let refused = [
        (config(NetworkNamespace::Handed, vec![]), Place::Host),
        (config(NetworkNamespace::Handed, vec![]), Place::Guest),
        (config(NetworkNamespace::Host, vec![]), Place::Guest),
        (config(NetworkNamespace::Host, vec![good()]), Place::Host),
        (config(NetworkNamespace::New, vec![good(), good()]), Place::Host),
    ];
    for (config, place) in refused {
        assert_eq!(check(&config, place, false).unwrap_err().kind, ErrorKind::Invalid, "{config:?}");
    }
    check(&config(NetworkNamespace::Handed, vec![good()]), Place::Host, true).unwrap();
}

/// Frames of ARP (RFC 826) that arrive in this namespace.
fn arp_frames() -> OwnedFd {
    let protocol = 0x0806u16.to_be();
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let socket = crate::sys::owned(unsafe { libc::socket(libc::AF_PACKET, kind, protocol.into()) }).unwrap();
    let limit = Some(std::time::Duration::from_secs(10));
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, limit).unwrap();
    socket
}

#[test]
fn device_that_is_plugged_in_later_tells_its_neighbours_of_its_address() {
    let mut machine = machine();
    let frames = arp_frames();
    let wanted = interface("eth0", &["10.1.0.2/16"], &[]);
    let mut network =
        Network::set_up(&config(NetworkNamespace::New, vec![wanted]), Place::Guest, None).unwrap();
    network.on_news();
    let other = machine.link_by_name("b").unwrap().unwrap();
    machine.set_up(other.index).unwrap();
    until_announced(&mut network);
    let mut frame = [0; 64];
    let (length, _) = recv(&frames, &mut frame, RecvFlags::empty()).unwrap();
    assert!(length >= 42);
    // Sender and target are the same: gratuitous.
    assert_eq!(
        (&frame[22..28], &frame[28..32], &frame[38..42]),
        (&[2, 0x42, 10, 1, 0, 2][..], &[10, 1, 0, 2][..], &[10, 1, 0, 2][..])
    );
}
