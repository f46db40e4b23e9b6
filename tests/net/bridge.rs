//! The default bridge.

use hull_tests::BUSYBOX;
use hull_tests::net::{Host, Server};

#[test]
fn containers_have_an_address_and_a_way_out() {
    let host = Host::new();
    let guest = host.sleeping("one", "");
    let address = guest.address("bridge");
    assert_eq!(address.octets()[..2], [172, 17]);
    let text = guest.sh("ip -4 addr show eth0; ip route; cat /sys/class/net/eth0/address").text();
    assert!(text.contains(&format!("inet {address}/16")), "{text}");
    assert!(text.contains("default via 172.17.0.1 dev eth0"), "{text}");
    let [.., c, d] = address.octets();
    assert!(text.ends_with(&format!("02:42:ac:11:{c:02x}:{d:02x}")), "{text}");

    // The internet knows the host only, over TCP and UDP; names are the host's resolvers'.
    assert_eq!(guest.get(Host::INTERNET), format!("internet to {}", Host::ADDRESS));
    assert_eq!(guest.get("www.example.test"), format!("internet to {}", Host::ADDRESS));
    guest.ping(Host::INTERNET);
}

#[test]
fn containers_reach_each_other_and_the_bridge_by_address_and_not_by_name() {
    let host = Host::new();
    let _service = Server::start(&host.namespace, "0.0.0.0:9000", "host");
    let web = host.serving("web", "");
    let other = host.sleeping("other", "");
    assert_eq!(other.get(&web.address("bridge").to_string()), "web");
    assert!(!other.reaches("web"));
    let address = other.address("bridge");
    assert_eq!(other.get("172.17.0.1:9000"), format!("host to {address}"));
}

#[test]
fn without_a_network_there_is_only_loopback() {
    let host = Host::new();
    let script = "ls /sys/class/net; ip route | wc -l; ping -c1 -W1 127.0.0.1 >/dev/null && echo up";
    let text = host.run(["--network", "none", BUSYBOX, "sh", "-c", script]).text();
    assert_eq!(text, "lo\n0\nup");
    host.is_as_before();
}
