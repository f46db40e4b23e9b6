//! The default bridge.

use hull_tests::net::Host;

#[test]
fn containers_have_an_address_and_a_way_out() {
    let host = Host::new();
    let guest = host.sleeping("one", "");
    let address = guest.address("bridge");
    assert_eq!(address.octets()[..2], [172, 17]);
    let text = guest.sh("ip -4 addr show eth0; ip route").text();
    assert!(text.contains(&format!("inet {address}/16")), "{text}");
    assert!(text.contains("default via 172.17.0.1 dev eth0"), "{text}");
    assert_eq!(guest.get(Host::INTERNET).unwrap(), format!("internet to {}", Host::ADDRESS));
}
