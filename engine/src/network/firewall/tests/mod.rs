//! In network namespaces of their own, with sandboxes on real bridges.

mod world;

use std::time::{Duration, Instant};

use super::*;
use world::*;

fn publish(host: &str, host_port: u16, container: &str, container_port: u16) -> PublishedRule {
    PublishedRule {
        protocol: Protocol::Tcp,
        host: host.parse().unwrap(),
        host_port,
        container: container.parse().unwrap(),
        container_port,
    }
}

#[test]
fn networks_reach_the_outside_and_themselves_but_not_each_other() {
    let mut world = World::new();
    let one = world.network("hl1", &["172.20.0.1/16", "fd20::1/64"], false);
    let two = world.network("hl2", &["172.21.0.1/16", "fd21::1/64"], false);
    let inside = world.network("hl3", &["172.22.0.1/16"], true);
    let a = world.sandbox(&one, &["172.20.0.2/16", "fd20::2/64"]);
    let b = world.sandbox(&one, &["172.20.0.3/16", "fd20::3/64"]);
    let c = world.sandbox(&two, &["172.21.0.2/16", "fd21::2/64"]);
    let d = world.sandbox(&inside, &["172.22.0.2/16"]);
    let e = world.sandbox(&inside, &["172.22.0.3/16"]);
    println!("{}", world.ruleset());
    for sandbox in [&a, &b, &c, &d, &e] {
        serve(&sandbox.place, "[::]:80", "sandbox");
    }
    serve(&world.outside, "[::]:80", "outside");
    serve(&world.host, "[::]:80", "host");

    assert_eq!(ask(&a.place, "172.20.0.3:80").unwrap(), "sandbox");
    assert_eq!(ask(&a.place, "[fd20::3]:80").unwrap(), "sandbox");
    assert_eq!(ask_udp(&a.place, "172.20.0.3:80").unwrap(), "sandbox");
    assert_eq!(ask(&a.place, "10.9.0.2:80").unwrap(), "outside");
    assert_eq!(ask_udp(&a.place, "10.9.0.2:80").unwrap(), "outside");
    assert_eq!(ask(&a.place, "172.20.0.1:80").unwrap(), "host");
    assert_eq!(ask(&d.place, "172.22.0.3:80").unwrap(), "sandbox");
    assert_eq!(ask(&world.host, "172.22.0.3:80").unwrap(), "sandbox");
    for address in ["172.21.0.2:80", "172.21.0.1:80", "172.22.0.2:80", "10.9.0.1:80", "[fd21::2]:80"] {
        assert!(ask(&a.place, address).is_err(), "{address}");
    }
    for address in ["172.22.0.1:80", "10.9.0.2:80", "10.9.0.1:80", "172.20.0.2:80"] {
        assert!(ask(&d.place, address).is_err(), "{address}");
    }
    // From outside, by a route that leads there.
    for address in ["172.20.0.2:80", "172.22.0.2:80", "172.20.0.1:8080"] {
        assert!(ask(&world.outside, address).is_err(), "{address}");
    }
}
