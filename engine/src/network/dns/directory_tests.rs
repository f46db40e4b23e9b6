use super::*;
use crate::network::dns::fixture::{endpoint, ips, link, neighbour, network};

fn find(directory: &Directory, name: &str, wants: Wants) -> Found {
    directory.find(&Name::from_ascii(name).unwrap(), wants)
}

fn found(addresses: &[&str]) -> Found {
    Found::Addresses(ips(addresses))
}

/// On "front" and "back", where `db` is on the latter only.
fn two_networks() -> Directory {
    let mut directory = Directory::default();
    let mut web = neighbour('a', "Web", "172.20.0.2", Some("fd20::2"));
    let one = neighbour('b', "db", "172.21.0.3", None);
    web.aliases = vec!["www".to_owned()];
    directory.add(
        &network("front"),
        &endpoint(&[]),
        &[web.clone(), neighbour('c', "x.y", "172.20.0.9", None)],
    );
    web.ipv4 = Some("172.21.0.2".parse().unwrap());
    web.aliases = vec!["pool".to_owned()];
    let other = Neighbour { aliases: vec!["POOL".to_owned()], ..one };
    directory.add(&network("back.end"), &endpoint(&[link('b', "store")]), &[web, other]);
    directory
}

#[test]
fn names_aliases_host_names_and_short_ids_are_found_in_any_case() {
    let directory = two_networks();
    let short = "a".repeat(12);
    for name in ["web", "WEB.", "www", "web-host", short.as_str(), "web.front", "Www.FRONT."] {
        assert_eq!(find(&directory, name, Wants::V4), found(&["172.20.0.2"]), "{name}");
    }
    assert_eq!(find(&directory, "web", Wants::V6), found(&["fd20::2"]));
    assert_eq!(find(&directory, "web", Wants::Both), found(&["172.20.0.2", "fd20::2"]));
    assert_eq!(find(&directory, "pool", Wants::V4), found(&["172.21.0.2", "172.21.0.3"]));
}

#[test]
fn dots_in_names_and_networks_do_not_confuse() {
    let directory = two_networks();
    assert_eq!(find(&directory, "x.y", Wants::V4), found(&["172.20.0.9"]));
    assert_eq!(find(&directory, "x.y.front", Wants::V4), found(&["172.20.0.9"]));
    assert_eq!(find(&directory, "web.back.end", Wants::V4), found(&["172.21.0.2"]));
    assert_eq!(find(&directory, "store.back.end", Wants::V4), found(&["172.21.0.3"]));
    assert_eq!(find(&directory, "db.front", Wants::V4), Found::Unknown);
    for name in ["front", ".", "w.eb", "web.front.example", "xfront"] {
        assert_eq!(find(&directory, name, Wants::V4), Found::Unknown, "{name}");
    }
}

#[test]
fn a_name_without_such_records_is_known_all_the_same() {
    let directory = two_networks();
    assert_eq!(find(&directory, "db", Wants::V6), found(&[]));
    assert_eq!(find(&directory, "db", Wants::Other), found(&[]));
    assert_eq!(find(&directory, "nobody", Wants::Other), Found::Unknown);
}

#[test]
fn addresses_lead_back_to_names() {
    let directory = two_networks();
    let name = |text: &str| Found::Name(text.to_owned());
    assert_eq!(find(&directory, "3.0.21.172.in-addr.arpa", Wants::Pointer), name("db.back.end."));
    let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.D.F.IP6.arpa.";
    assert_eq!(find(&directory, six, Wants::Pointer), name("Web.front."));
    for text in
        ["4.0.21.172.in-addr.arpa", "21.172.in-addr.arpa", "g.ip6.arpa", "db", "1.0.0.127.in-addr.arpa."]
    {
        assert_eq!(find(&directory, text, Wants::Pointer), Found::Unknown, "{text}");
    }
}

#[test]
fn the_default_network_knows_links_only() {
    let mut directory = Directory::default();
    let neighbours = [neighbour('b', "db", "172.17.0.3", None), neighbour('c', "cache", "172.17.0.4", None)];
    directory.add(&network(BRIDGE), &endpoint(&[link('b', "store")]), &neighbours);
    for name in ["store", "db", "db-host"] {
        assert_eq!(find(&directory, name, Wants::V4), found(&["172.17.0.3"]), "{name}");
    }
    assert_eq!(find(&directory, "cache", Wants::V4), Found::Unknown);
    assert_eq!(find(&directory, "3.0.17.172.in-addr.arpa", Wants::Pointer), Found::Unknown);
}

#[test]
fn only_a_network_that_leads_outside_lets_questions_out() {
    let mut directory = Directory::default();
    assert!(!directory.external);
    let mut internal = network("vault");
    internal.settings.internal = true;
    directory.add(&internal, &endpoint(&[]), &[]);
    assert!(!directory.external);
    directory.add(&network("front"), &endpoint(&[]), &[]);
    assert!(directory.external);
}

#[test]
fn labels_that_look_like_dots_are_no_names() {
    let odd = Name::from_labels([b"web.front".as_slice()]).unwrap();
    assert_eq!(two_networks().find(&odd, Wants::V4), Found::Unknown);
}
