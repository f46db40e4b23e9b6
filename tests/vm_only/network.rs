//! What of networks is a virtual machine's alone.

use std::time::{Duration, Instant};

use hull_tests::net::Host;
use hull_tests::{BUSYBOX, Hull};

const SERVE: &str = "mkdir -p /www && dd if=/dev/zero of=/www/mebibyte bs=1024 count=1024 2>/dev/null && httpd -f -p 80 -h /www";

#[test]
fn the_hosts_network_is_refused_with_the_reason() {
    let told = Hull::run(["--network", "host", BUSYBOX, "true"]).output().fails(125);
    assert!(told.contains("host") && told.contains("namespace"), "{told}");
}

#[test]
fn an_endpoint_is_held_to_its_rates() {
    let host = Host::new();
    let _server = host.start("server", ["--network-opt", "tx-bps=256k", BUSYBOX, "sh", "-c", SERVE]);
    let client = host.sleeping("client", "");
    host.guest("server").await_port(80);
    let at = host.guest("server").address("bridge");
    let begun = Instant::now();
    client.sh(&format!("wget -qO /dev/null http://{at}/mebibyte")).exits(0);
    // A mebibyte, of which a second's worth may be at once.
    assert!(begun.elapsed() > Duration::from_millis(2500), "{:?}", begun.elapsed());
}
