//! Networks that come and go while a container runs.

use hull_tests::net::Host;

#[test]
fn a_running_container_is_connected_and_disconnected() {
    let host = Host::new();
    host.say("network create --subnet 10.77.0.0/24 side").exits(0);
    let web = host.serving("web", "--network side");
    let guest = host.sleeping("guest", "");
    assert!(!guest.reaches("10.77.0.2"));

    // More often than there are places for devices: what is disconnected gives its back.
    for round in 0..5 {
        host.say(&format!("network connect --ip 10.77.0.5{round} --alias me side guest")).exits(0);
        assert_eq!(guest.address("side").to_string(), format!("10.77.0.5{round}"));
        assert_eq!(guest.get("web"), "web", "round {round}");
        assert_eq!(web.lookup("me"), [format!("10.77.0.5{round}")]);
        assert_eq!(guest.get(Host::INTERNET), format!("internet to {}", Host::ADDRESS));
        host.say("network disconnect side guest").exits(0);
        assert!(!guest.reaches(&web.address("side").to_string()));
    }
    assert_eq!(guest.sh("ls /sys/class/net").text(), "eth0\nlo");

    // The way out moves with what is left.
    host.say("network connect side guest").exits(0);
    host.say("network disconnect bridge guest").exits(0);
    assert_eq!(guest.get(Host::INTERNET), format!("internet to {}", Host::ADDRESS));
    assert!(guest.sh("ip route").text().contains("default via 10.77.0.1"));
    // What was changed outlives a restart.
    host.say("restart -t 0 guest").exits(0);
    assert_eq!(guest.get("web"), "web");
    assert!(guest.inspect()["NetworkSettings"]["Networks"].as_object().unwrap().len() == 1);
}
