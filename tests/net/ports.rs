//! Published ports.

use hull_tests::net::Host;

#[test]
fn a_published_port_is_reached_from_everywhere() {
    let host = Host::new();
    let web = host.serving("web", "-p 8080:80");
    let other = host.sleeping("other", "");
    for at in ["203.0.113.1:8080", "[2001:db8:200::1]:8080"] {
        assert_eq!(host.client.get(at).unwrap(), "web", "{at} from another host");
    }
    for at in ["127.0.0.1:8080", "[::1]:8080", "203.0.113.1:8080", "198.51.100.1:8080", "172.17.0.1:8080"] {
        assert_eq!(host.namespace.get(at).unwrap(), "web", "{at} from the host");
    }
    for at in ["203.0.113.1:8080", "172.17.0.1:8080"] {
        assert_eq!(other.get(at), "web", "{at} from another container");
        assert_eq!(web.get(at), "web", "{at} from itself");
    }
    assert_eq!(host.say("port web").text(), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080");

    // It comes back with the container, and goes with it.
    host.say("restart -t 0 web").exits(0);
    web.await_port(80);
    assert_eq!(host.client.get("203.0.113.1:8080").unwrap(), "web");
    host.say("stop -t 0 web").exits(0);
    assert!(!host.client.reaches("203.0.113.1:8080"));
    assert_eq!(host.say("port web").text(), "");
}
