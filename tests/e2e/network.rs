//! Loopback, and `--network none`, with which there is nothing else; `net` has the rest.

use hull_tests::{BUSYBOX, run};

#[test]
fn without_a_network_loopback_is_the_only_interface_and_is_up() {
    let script = "ls /sys/class/net; cat /sys/class/net/lo/operstate; ip -4 addr show lo";
    let text = run(["--network", "none", BUSYBOX, "sh", "-c", script]).text();
    assert!(text.starts_with("lo\nunknown\n"), "{text}");
    assert!(text.contains("inet 127.0.0.1/8") && text.contains("LOOPBACK,UP"), "{text}");
}

#[test]
fn loopback_carries_both_families() {
    let script = "mkdir -p /www && echo page > /www/index.html && httpd -p 8080 -h /www && \
                  wget -qO- http://127.0.0.1:8080/ && wget -qO- 'http://[::1]:8080/'";
    assert_eq!(run([BUSYBOX, "sh", "-c", script]).text(), "page\npage");
}

#[test]
fn without_a_network_nothing_outside_is_reachable() {
    let script = "ip route | wc -l; ping -c1 -W1 192.0.2.1 2>&1 | tail -n 1";
    let text = run(["--network", "none", BUSYBOX, "sh", "-c", script]).text();
    assert!(text.starts_with("0\n") && text.contains("unreachable"), "{text}");
}

#[test]
fn low_ports_are_open_to_every_user_or_to_root() {
    run([BUSYBOX, "sh", "-c", "httpd -p 80 && wget -qO- http://localhost:80/nosuch 2>&1 | grep -q 404"])
        .exits(0);
}

#[test]
fn containers_do_not_share_their_loopback() {
    let mut server =
        hull_tests::Hull::run([BUSYBOX, "sh", "-c", "httpd -p 8123 && echo ready && sleep 1000"]).spawn();
    server.stdout.expect("ready");
    let text = run([BUSYBOX, "sh", "-c", "wget -qO- http://127.0.0.1:8123/ 2>&1; true"]).text();
    assert!(text.contains("refused"), "{text}");
}
