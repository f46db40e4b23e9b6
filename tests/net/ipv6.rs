//! Networks with IPv6.

use hull_tests::net::Host;

#[test]
fn a_network_with_ipv6_has_addresses_names_ports_and_a_way_out() {
    let host = Host::new();
    host.say("network create --ipv6 --subnet fd00:77::/64 six").exits(0);
    let web = host.serving("web", "--network six --ip6 fd00:77::50 -p 8086:80");
    let other = host.sleeping("other", "--network six");
    assert_eq!(web.address_6("six").to_string(), "fd00:77::50");
    let mut addresses = [web.address("six").to_string(), "fd00:77::50".to_owned()];
    addresses.sort();
    assert_eq!(other.lookup("web"), addresses);
    assert_eq!(other.reverse("fd00:77::50").unwrap(), "web.six");
    assert_eq!(other.get("[fd00:77::50]"), "web");
    assert_eq!(other.get(&format!("[{}]", Host::INTERNET_6)), format!("internet to {}", Host::ADDRESS_6));
    assert_eq!(host.client.get("[2001:db8:200::1]:8086").unwrap(), "web");
}
