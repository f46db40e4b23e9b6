//! Against the kernel, each in a network namespace of its own. (Root.)

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;

use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::*;
use crate::protocol::{Mac, Prefix};

const MAC: Mac = Mac([2, 0x42, 10, 1, 0, 2]);

/// A new namespace, which the calling thread is in from then on. It ends with the thread, as every test's.
fn new_namespace() -> File {
    // SAFETY: NEWNET touches neither descriptors nor memory.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
    File::open("/proc/thread-self/ns/net").unwrap()
}

fn elsewhere() -> (File, Rtnetlink) {
    std::thread::spawn(|| (new_namespace(), Rtnetlink::open().unwrap())).join().unwrap()
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn index(route: &mut Rtnetlink, name: &str) -> u32 {
    route.link_by_name(name).unwrap().unwrap().index
}

fn veth<'a>(name: &'a str, peer_name: &'a str) -> Veth<'a> {
    Veth { name, mac: None, peer_name, peer_mac: None, peer_netns: None, mtu: None }
}

#[test]
fn veth_joins_a_bridge_with_its_peer_in_another_namespace() {
    new_namespace();
    let mut here = Rtnetlink::open().unwrap();
    let (namespace, mut there) = elsewhere();
    let bridge_mac = Mac([2, 1, 1, 1, 1, 1]);
    here.add_bridge("hull0", Some(bridge_mac), None).unwrap();
    let bridge = here.link_by_name("hull0").unwrap().unwrap();
    assert_eq!((bridge.kind.as_deref(), bridge.mac, bridge.up), (Some("bridge"), Some(bridge_mac), false));
    let pair = Veth {
        peer_mac: Some(MAC),
        peer_netns: Some(namespace.as_fd()),
        mtu: Some(1400),
        ..veth("hv0", "slot0")
    };
    here.add_veth(&pair).unwrap();
    let taken = here.add_veth(&pair).unwrap_err();
    assert!(taken.is(Errno::EXIST), "{taken:?}");
    let end = index(&mut here, "hv0");
    here.set_master(end, Some(bridge.index)).unwrap();
    let flags = PortFlags { isolated: true, bpdu_guard: true, ..PortFlags::default() };
    here.set_port(end, flags).unwrap();
    let shown = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    assert!(shown.contains("hv0"), "{shown}");
    for device in [bridge.index, end] {
        here.set_up(device).unwrap();
    }
    let peer = there.link_by_mac(MAC).unwrap().unwrap();
    assert_eq!((peer.name.as_str(), peer.mtu, peer.up), ("slot0", 1400, false));
    there.set_up(peer.index).unwrap();
    let link = here.link_by_index(end).unwrap().unwrap();
    assert_eq!((link.master, link.carrier, link.kind.as_deref()), (Some(bridge.index), true, Some("veth")));
    here.set_master(end, None).unwrap();
    assert_eq!(here.link_by_index(end).unwrap().unwrap().master, None);
    assert!(here.delete_link("hv0").unwrap());
    assert!(!here.delete_link("hv0").unwrap());
    assert_eq!(there.link_by_mac(MAC).unwrap(), None);
}

#[test]
fn device_is_moved_and_made_another() {
    new_namespace();
    let mut here = Rtnetlink::open().unwrap();
    let (namespace, mut there) = elsewhere();
    here.add_veth(&veth("a", "b")).unwrap();
    let a = index(&mut here, "a");
    here.move_to(a, namespace.as_fd(), Some("slot7")).unwrap();
    assert_eq!(here.link_by_name("a").unwrap(), None);
    let slot = index(&mut there, "slot7");
    there.set_mac(slot, MAC).unwrap();
    there.set_mtu(slot, 1300).unwrap();
    there.rename(slot, "eth0").unwrap();
    there.set_up(slot).unwrap();
    let link = there.link_by_name("eth0").unwrap().unwrap();
    assert_eq!((link.index, link.mac, link.mtu, link.up), (slot, Some(MAC), 1300, true));
    there.set_down(slot).unwrap();
    assert!(!there.link_by_index(slot).unwrap().unwrap().up);
    assert!(there.links().unwrap().iter().any(|link| link.name == "lo"));
}

#[test]
fn addresses_and_routes_come_and_go() {
    new_namespace();
    let mut route = Rtnetlink::open().unwrap();
    route.add_veth(&veth("a", "b")).unwrap();
    let (a, b) = (index(&mut route, "a"), index(&mut route, "b"));
    route.set_link_local(a, false).unwrap();
    let addresses = [prefix("10.1.0.2/16"), prefix("fd00:1::2/64")];
    for address in addresses {
        route.add_address(a, address).unwrap();
        route.add_address(a, address).unwrap();
    }
    route.set_up(a).unwrap();
    route.set_up(b).unwrap();
    let given: Vec<_> =
        route.addresses().unwrap().into_iter().filter(|(device, _)| *device == a).map(|(_, it)| it).collect();
    assert_eq!(given, addresses, "and no link-local one");
    for (destination, gateway) in
        [("0.0.0.0/0", "10.1.0.1"), ("::/0", "fd00:1::1"), ("10.9.0.0/24", "10.1.0.9")]
    {
        let gateway = gateway.parse::<IpAddr>().unwrap();
        let entry = RouteEntry {
            destination: prefix(destination),
            gateway: Some(gateway),
            device: Some(a),
            metric: None,
        };
        route.replace_route(&entry).unwrap();
        route.replace_route(&entry).unwrap();
        let same = |found: &&RouteEntry| found.destination == entry.destination;
        let found = route.routes().unwrap();
        let found: Vec<_> = found.iter().filter(same).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].gateway, found[0].device), (Some(gateway), Some(a)));
        assert_eq!(found[0].is_default(), entry.destination.length == 0);
        assert!(route.delete_route(&entry).unwrap());
        assert!(!route.delete_route(&entry).unwrap());
    }
    let at_link =
        RouteEntry { destination: prefix("10.8.0.0/24"), gateway: None, device: Some(a), metric: None };
    route.replace_route(&at_link).unwrap();
    assert!(route.routes().unwrap().iter().any(|found| found.destination == at_link.destination));
    assert!(route.delete_address(a, addresses[0]).unwrap());
    assert!(!route.delete_address(a, addresses[0]).unwrap());
}

#[test]
fn gateway_out_of_reach_is_refused_in_words() {
    new_namespace();
    let mut route = Rtnetlink::open().unwrap();
    route.add_veth(&veth("a", "b")).unwrap();
    let a = index(&mut route, "a");
    route.set_up(a).unwrap();
    let gateway = Some("10.1.0.1".parse().unwrap());
    let entry = RouteEntry { destination: prefix("0.0.0.0/0"), gateway, device: Some(a), metric: None };
    let error = route.replace_route(&entry).unwrap_err();
    assert_eq!(error.to_string(), "Failed to set the route to 0.0.0.0/0");
    assert!(error.source.to_string().contains("gateway"), "{}", error.source);
}

#[test]
fn macvlan_is_made_in_another_namespace() {
    new_namespace();
    let mut here = Rtnetlink::open().unwrap();
    let (namespace, mut there) = elsewhere();
    here.add_veth(&veth("a", "b")).unwrap();
    let parent = index(&mut here, "a");
    here.add_macvlan("mv0", parent, Some(MAC), Some(namespace.as_fd())).unwrap();
    let link = there.link_by_mac(MAC).unwrap().unwrap();
    assert_eq!((link.name.as_str(), link.kind.as_deref()), ("mv0", Some("macvlan")));
}
