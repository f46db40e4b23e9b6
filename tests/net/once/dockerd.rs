//! Docker's daemon beside hull, on the same host.

use hull_tests::net::Host;
use hull_tests::{Dockerd, paths};

#[test]
fn dockers_rules_and_hulls_do_not_harm_each_other() {
    let mut host = Host::new();
    let dockerd = Dockerd::start_on(&host.namespace);
    dockerd.told(&["load", "-q", "-i", paths::image("busybox.tar").to_str().unwrap()]);
    let serve = "mkdir -p /www && echo docker >/www/index.html && httpd -f -p 80 -h /www";
    dockerd.told(&["run", "-d", "--name", "theirs", "-p", "8070:80", "busybox", "sh", "-c", serve]);
    let rules = || host.namespace.run("nft", ["list", "ruleset"]);
    let counters = |text: String| {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let count = |at: usize| {
            words.get(at.wrapping_sub(1)).is_some_and(|word| word == "packets" || word == "bytes")
        };
        (0..words.len()).filter(|&at| !count(at)).map(|at| words[at].clone()).collect::<Vec<_>>().join(" ")
    };
    let before = counters(rules());

    // Docker's FORWARD drops what it does not know.
    let web = host.serving("web", "-p 8080:80");
    assert_eq!(host.client.get("203.0.113.1:8080").unwrap(), "web");
    assert_eq!(web.get(Host::INTERNET), format!("internet to {}", Host::ADDRESS));
    assert_eq!(host.client.get("203.0.113.1:8070").unwrap(), "docker");
    let told = dockerd.told(&["exec", "theirs", "wget", "-qO-", "http://198.51.100.2/"]);
    assert_eq!(told.trim(), format!("internet to {}", Host::ADDRESS));
    let info = host.say("info").text();
    assert!(
        info.lines().any(|line| line.starts_with("Other firewalls") && line.ends_with("docker")),
        "{info}"
    );

    // The two do not choose the same subnet.
    assert_ne!(web.address("bridge").octets()[..2], [172, 17]);
    web.remove();
    assert_eq!(counters(rules()), before);
    dockerd.told(&["rm", "-f", "theirs"]);
    drop(dockerd);
    host.forget_before();
}
