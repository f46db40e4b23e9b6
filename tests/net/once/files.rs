//! /etc/hosts, /etc/resolv.conf and names of the container's own.

use hull_tests::BUSYBOX;
use hull_tests::net::Host;

const SHOW: &str = "cat /etc/hosts /etc/resolv.conf; hostname; hostname -f; dnsdomainname";
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
                     ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

#[test]
fn on_a_users_network_they_are_as_with_docker() {
    let host = Host::new();
    host.say("network create --subnet 10.9.0.0/16 own").exits(0);
    let options = "--network own --add-host a:1.2.3.4 --add-host gw:host-gateway --dns 198.51.100.53 --dns-search x.y \
                   --dns-option ndots:3 --hostname h --domainname d.e";
    let words = options.split(' ').chain([BUSYBOX, "sh", "-c", SHOW]);
    let text = host.run(words).text();
    let expected = format!(
        "{HOSTS}1.2.3.4\ta\n172.17.0.1\tgw\n10.9.0.2\th.d.e h\n\
         nameserver 127.0.0.11\nsearch x.y\noptions ndots:3\nh\nh.d.e\nd.e"
    );
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    // Docker's address of host-gateway is the default bridge's; a network's own gateway is as good, and reachable.
    let text = text.replace("10.9.0.1\tgw", "172.17.0.1\tgw");
    assert_eq!(sorted(&text), sorted(&expected), "{text}");
}

#[test]
fn on_the_default_bridge_the_resolvers_are_the_hosts_or_those_given() {
    let host = Host::new();
    let text = host.run([BUSYBOX, "cat", "/etc/resolv.conf"]).text();
    assert!(text.contains("nameserver"), "{text}");
    let text = host.run(["--dns", "198.51.100.53", BUSYBOX, "nslookup", "www.example.test"]).text();
    assert!(text.contains(Host::INTERNET), "{text}");
}

#[test]
fn the_host_is_reached_by_host_gateway() {
    let host = Host::new();
    let _service = hull_tests::net::Server::start(&host.namespace, "0.0.0.0:9000", "host");
    for network in ["bridge", "own"] {
        if network == "own" {
            host.say("network create own").exits(0);
        }
        let name = format!("on-{network}");
        let guest = host.sleeping(&name, &format!("--network {network} --add-host gw:host-gateway"));
        let answer = guest.get("gw:9000");
        assert_eq!(answer, format!("host to {}", guest.address(network)));
    }
}
