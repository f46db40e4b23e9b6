//! Networks that several containers have together.

use hull_tests::net::Host;
use hull_tests::{BUSYBOX, isolation};

#[test]
fn a_pods_members_share_its_address_and_ports() {
    let host = Host::new();
    host.say("network create shop").exits(0);
    let mode = isolation().word();
    let create = format!("pod create --name till --isolation {mode} --network shop -p 8080:80");
    host.say(&create).exits(0);
    let server = "mkdir -p /www && echo pod >/www/index.html && httpd -f -p 80 -h /www";
    host.hull(["run", "-d", "--pod", "till", "--name", "server", BUSYBOX, "sh", "-c", server]).exits(0);
    host.guest("server").await_port(80);
    let member = ["run", "--rm", "--pod", "till", BUSYBOX, "wget", "-qO-", "http://127.0.0.1/"];
    assert_eq!(host.hull(member).text(), "pod");
    let joined =
        ["run", "--rm", "--network", "container:server", BUSYBOX, "wget", "-qO-", "http://127.0.0.1/"];
    assert_eq!(host.hull(joined).text(), "pod");
    assert_eq!(host.client.get("203.0.113.1:8080").unwrap(), "pod");
    let client = host.sleeping("client", "--network shop");
    assert_eq!(client.get("till"), "pod");
}
