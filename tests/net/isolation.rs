//! What a container does not reach.

use hull_tests::net::{Host, Server};

#[test]
fn networks_do_not_reach_each_other_nor_the_hosts_other_addresses() {
    let host = Host::new();
    let _service = Server::start(&host.namespace, "0.0.0.0:9000", "host");
    host.say("network create left").exits(0);
    host.say("network create right").exits(0);
    let left = host.serving("left", "--network left");
    let right = host.sleeping("right", "--network right");
    let address = left.address("left").to_string();
    assert!(!right.reaches(&address) && !right.pings(&address));
    assert!(right.lookup("left").is_empty());
    // Nor the other network's bridge, nor what the host has elsewhere.
    let gateway = left.endpoint("left")["Gateway"].as_str().unwrap().to_owned();
    for at in [&gateway, Host::LAN, Host::ADDRESS] {
        assert!(!right.reaches(&format!("{at}:9000")), "{at}");
    }
    assert_eq!(right.get(Host::INTERNET), format!("internet to {}", Host::ADDRESS));
    // A host beside cannot route to a container by its address.
    host.client.ip(&format!("route add {address}/32 via {}", Host::LAN));
    assert!(!host.client.reaches(&format!("{address}:80")));
}

#[test]
fn an_internal_network_reaches_itself_only() {
    let host = Host::new();
    let _service = Server::start(&host.namespace, "0.0.0.0:9000", "host");
    host.say("network create --internal inner").exits(0);
    let web = host.serving("web", "--network inner");
    let other = host.sleeping("other", "--network inner");
    assert_eq!(other.get("web"), "web");
    let gateway = web.address("inner").octets();
    let gateway = format!("{}.{}.{}.1:9000", gateway[0], gateway[1], gateway[2]);
    for at in [Host::INTERNET, &gateway, "203.0.113.1:9000"] {
        assert!(!other.reaches(at), "{at}");
    }
    assert!(other.lookup("www.example.test").is_empty());
}
