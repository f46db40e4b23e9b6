//! Names on networks of the user's.

use hull_tests::net::Host;

#[test]
fn containers_find_each_other_by_name_alias_and_short_id() {
    let host = Host::new();
    host.say("network create shop").exits(0);
    let web = host.serving("web", "--network shop --network-alias www --network-alias site");
    let client = host.sleeping("client", "--network shop");
    let address = web.address("shop").to_string();
    let id = web.inspect()["Id"].as_str().unwrap()[..12].to_owned();
    for name in ["web", "www", "site", "WEB", &id] {
        assert_eq!(client.lookup(name), [address.as_str()], "{name}");
    }
    assert_eq!(client.get("www"), "web");
    assert_eq!(client.reverse(&address).unwrap(), "web.shop");
    // They are nobody's outside.
    let asked = host.dns.asked();
    assert!(!asked.iter().any(|name| name.starts_with("web") || name.starts_with("www")), "{asked:?}");

    // What changes is seen by the next question.
    web.remove();
    assert!(client.lookup("web").is_empty());
    let late = host.sleeping("late", "--network shop --network-alias www");
    assert_eq!(client.lookup("www"), [late.address("shop").to_string()]);
}

#[test]
fn other_names_are_the_resolvers_of_the_hosts() {
    let host = Host::new();
    host.say("network create shop").exits(0);
    let guest = host.sleeping("guest", "--network shop --dns-search search.test");
    assert_eq!(guest.lookup("www.example.test"), [Host::INTERNET, Host::INTERNET_6]);
    assert_eq!(guest.reverse(Host::INTERNET).unwrap(), "www.example.test");
    assert!(guest.lookup("nothing.example.test").is_empty());
    assert_eq!(guest.get("only"), format!("internet to {}", Host::ADDRESS));
}
