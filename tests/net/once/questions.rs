//! More of names: what is asked where.

use hull_tests::net::{BIG, Host};
use hull_tests::{BUSYBOX, PYTHON};

#[test]
fn names_of_a_network_are_not_known_on_another() {
    let host = Host::new();
    for network in ["left", "right"] {
        host.say(&format!("network create {network}")).exits(0);
    }
    let _both = host.sleeping("both", "--network left");
    host.say("network connect --alias second right both").exits(0);
    let left = host.sleeping("left-guest", "--network left");
    let right = host.sleeping("right-guest", "--network right");
    let guest = host.guest("both");
    assert_eq!(left.lookup("both"), [guest.address("left").to_string()]);
    assert_eq!(right.lookup("both"), [guest.address("right").to_string()]);
    assert_eq!(right.lookup("second"), [guest.address("right").to_string()]);
    assert!(left.lookup("second").is_empty());
    assert!(left.lookup("right-guest").is_empty());
}

#[test]
fn several_containers_share_an_alias() {
    let host = Host::new();
    host.say("network create own").exits(0);
    let one = host.sleeping("one", "--network own --network-alias pool");
    let two = host.sleeping("two", "--network own --network-alias pool");
    let mut addresses = [one.address("own").to_string(), two.address("own").to_string()];
    addresses.sort();
    assert_eq!(one.lookup("pool"), addresses);
}

#[test]
fn an_image_that_serves_names_itself_still_works() {
    let host = Host::new();
    host.say("network create own").exits(0);
    let _web = host.sleeping("web", "--network own");
    let script = "import socket, subprocess\n\
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('0.0.0.0', 53))\n\
        t = socket.socket(); t.bind(('0.0.0.0', 53)); t.listen()\n\
        print(socket.gethostbyname('web'), flush=True)\n";
    let text = host.run(["--network", "own", PYTHON, "python3", "-c", script]).text();
    assert_eq!(text, host.guest("web").address("own").to_string());
}

#[test]
fn a_host_name_of_the_containers_own_and_a_resolver_that_is_away_are_answered() {
    let host = Host::new();
    host.say("network create own").exits(0);
    let guest = host.sleeping("guest", "--network own --hostname special --dns 198.51.100.99");
    guest.ping("special");
    // Nobody is there: an answer comes all the same, and not after the asker has given up.
    assert!(guest.lookup("www.example.test").is_empty());
    assert_eq!(guest.lookup("guest"), [guest.address("own").to_string()]);
    let other = ["--network", "own", "--dns", "198.51.100.99", BUSYBOX, "nslookup", "guest"];
    assert!(host.run(other).text().contains(&guest.address("own").to_string()));
}

#[test]
fn an_answer_too_large_for_a_datagram_comes_over_tcp() {
    let host = Host::new();
    host.say("network create own").exits(0);
    let script = "import socket; print(len(socket.gethostbyname_ex('big.example.test')[2]))";
    let text = host.run(["--network", "own", PYTHON, "python3", "-c", script]).text();
    assert_eq!(text, BIG.to_string());
}
