//! What a virtual machine cannot have.

use hull_tests::{BUSYBOX, Hull};

#[test]
fn the_hosts_network_is_refused_with_the_reason() {
    let told = Hull::run(["--network", "host", BUSYBOX, "true"]).output().fails(125);
    assert!(told.contains("host") && told.contains("namespace"), "{told}");
}
