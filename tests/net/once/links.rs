//! `--link`, on the default bridge and elsewhere.

use hull_tests::net::Host;

#[test]
fn a_linked_container_is_found_by_its_alias() {
    let host = Host::new();
    let web = host.serving("web", "");
    let guest = host.sleeping("guest", "--link web:shop");
    assert_eq!(guest.get("shop"), "web");
    assert_eq!(guest.get("web"), "web");
    assert!(guest.sh("cat /etc/hosts").text().contains(&format!("{}\tshop", web.address("bridge"))));

    host.say("network create own").exits(0);
    let there = host.serving("there", "--network own");
    let other = host.sleeping("other", "--network own --link there:near");
    assert_eq!(other.lookup("near"), [there.address("own").to_string()]);
    assert_eq!(other.get("near"), "there");
    let third = host.sleeping("third", "--network own");
    assert!(third.lookup("near").is_empty());
}
