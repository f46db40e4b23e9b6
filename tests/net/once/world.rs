//! The hosts of these cases, before hull has done anything.

use hull_tests::net::Host;

#[test]
fn a_host_reaches_the_internet_and_its_clients_and_they_do_not_reach_each_other() {
    let host = Host::new();
    let host_says = |at: &str| host.namespace.get(at).unwrap();
    assert_eq!(host_says("198.51.100.2:80"), "internet to 198.51.100.1");
    assert_eq!(host_says("[2001:db8:100::2]:80"), "internet to 2001:db8:100::1");
    assert_eq!(host.namespace.datagram("198.51.100.2:80", "x").unwrap(), "internet to 198.51.100.1: x");
    assert!(!host.client.reaches("198.51.100.2:80"));
}

#[test]
fn the_internet_has_names() {
    let host = Host::new();
    let dig = |kind: &str, name: &str| {
        let query = format!("nslookup -type={kind} {name} 198.51.100.53; true");
        host.namespace.run("busybox", ["sh", "-c", &query])
    };
    assert!(dig("a", "www.example.test").contains("198.51.100.2\n"));
    assert!(dig("aaaa", "www.example.test").contains("2001:db8:100::2\n"));
    assert!(dig("a", "nothing.example.test").contains("NXDOMAIN"));
    assert!(host.dns.asked().contains(&"www.example.test".to_owned()));
}
