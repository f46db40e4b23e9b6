//! `--egress`: what a container may reach.

use hull_tests::net::Host;

#[test]
fn a_container_reaches_what_its_policy_names_and_what_is_refused_is_told() {
    let host = Host::new();
    host.say("network create own").exits(0);
    let web = host.serving("web", "--network own");
    let guest = host.sleeping("guest", "--network own --egress allow=www.example.test:80,198.51.100.3");
    let internet = format!("internet to {}", Host::ADDRESS);
    assert_eq!(guest.get("www.example.test"), internet);
    assert_eq!(guest.get("198.51.100.3"), format!("second to {}", Host::ADDRESS));
    // Another port of what is allowed, a neighbour, and the host.
    assert!(!guest.reaches("www.example.test:8080"));
    assert!(!guest.reaches(&web.address("own").to_string()));
    assert!(!guest.reaches("203.0.113.1"));
    let told = hull_tests::eventually("the refusals are told", || {
        let words = ["events", "--since", "0", "--until", "0s", "--filter", "event=egress-denied"];
        let told = host.hull(words).text();
        (told.contains("198.51.100.2") && told.contains("8080")).then_some(told)
    });
    assert!(told.contains("guest"), "{told}");

    // Who has no policy is where it was.
    assert_eq!(web.get("www.example.test:8080"), internet);
}
