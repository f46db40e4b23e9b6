//! `--egress`, more of it.

use hull_tests::net::Host;
use hull_tests::{BUSYBOX, isolation};

#[test]
fn nothing_is_reached_where_all_is_denied_and_published_ports_answer() {
    let host = Host::new();
    host.say("network create own").exits(0);
    let web = host.serving("web", "--network own --egress deny -p 8080:80");
    let other = host.sleeping("other", "--network own");
    for at in [Host::INTERNET, "198.51.100.3", "203.0.113.1:9000"] {
        assert!(!web.reaches(at), "{at}");
    }
    assert!(!web.pings(&other.address("own").to_string()));
    // What comes in is answered.
    assert_eq!(host.client.get("203.0.113.1:8080").unwrap(), "web");
    assert_eq!(other.get("web"), "web");
}

#[test]
fn prefixes_and_names_with_any_label_in_front_are_allowed() {
    let host = Host::new();
    host.say("network create own").exits(0);
    let guest =
        host.sleeping("guest", "--network own --egress allow=198.51.100.2/31 --egress allow=*.nowhere.test");
    assert_eq!(guest.get("198.51.100.2:8080"), format!("internet to {}", Host::ADDRESS));
    assert_eq!(guest.get("198.51.100.3"), format!("second to {}", Host::ADDRESS));
    let guest = host.sleeping("names", "--network own --egress allow=*.example.test:80");
    assert_eq!(guest.get("second.example.test"), format!("second to {}", Host::ADDRESS));
    assert!(!guest.reaches("198.51.100.2:8080"));
}

#[test]
fn wrong_policies_are_refused() {
    let host = Host::new();
    for (policy, part) in [
        ("maybe", "maybe"),
        ("allow=", "egress"),
        ("allow=a:0", "a:0"),
        ("allow=1.2.3.4/33", "1.2.3.4/33"),
        ("allow=a_b!c", "a_b!c"),
    ] {
        let mode = isolation().word();
        let told =
            host.say(&format!("run --rm --isolation {mode} --egress {policy} {BUSYBOX} true")).fails(125);
        assert!(told.contains(part), "{policy}: {told}");
    }
}
