//! `--network host`, macvlan, and addresses of one's own.

use hull_tests::BUSYBOX;
use hull_tests::net::Host;

#[test]
fn the_hosts_network_is_the_hosts() {
    let host = Host::new();
    let text = host.run(["--network", "host", BUSYBOX, "ip", "-4", "-o", "addr"]).text();
    assert!(text.contains(Host::ADDRESS) && text.contains(Host::LAN), "{text}");
    let guest = host.serving("guest", "--network host");
    assert_eq!(host.client.get("203.0.113.1:80").unwrap(), "guest");
    assert_eq!(guest.inspect()["HostConfig"]["NetworkMode"], "host");
    host.is_as_before();
}

#[test]
fn macvlan_is_beside_the_host_on_its_network() {
    let host = Host::new();
    host.say(
        "network create -d macvlan -o parent=inet0 --subnet 198.51.100.0/24 --ip-range 198.51.100.64/28 \
              --gateway 198.51.100.2 street",
    )
    .exits(0);
    let web = host.serving("web", "--network street");
    let address = web.address("street");
    assert_eq!(address.octets()[..3], [198, 51, 100]);
    assert_eq!(host.internet.get(&format!("{address}:80")).unwrap(), "web");
    // No translation: it is seen as what it is.
    assert_eq!(web.get(Host::INTERNET), format!("internet to {address}"));
    let other = host.sleeping("other", "--network street");
    assert_eq!(other.get(&address.to_string()), "web");
    assert_eq!(other.lookup("web"), [address.to_string()]);
}

#[test]
fn addresses_are_as_asked_for() {
    let host = Host::new();
    host.say("network create --subnet 10.9.0.0/16 own").exits(0);
    let guest = host.sleeping("guest", "--network own --ip 10.9.3.4 --mac-address 02:aa:bb:cc:dd:ee");
    let text = guest.sh("ip addr show eth0").text();
    assert!(text.contains("inet 10.9.3.4/16") && text.contains("02:aa:bb:cc:dd:ee"), "{text}");
    assert_eq!(guest.get(Host::INTERNET), format!("internet to {}", Host::ADDRESS));
    host.say("restart -t 0 guest").exits(0);
    assert_eq!(guest.address("own").to_string(), "10.9.3.4");
    assert_eq!(guest.get(Host::INTERNET), format!("internet to {}", Host::ADDRESS));
}
