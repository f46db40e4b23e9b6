use super::*;
use crate::network::model::{Dns, Link};
use crate::store::db::Neighbour;
use hull_guest::protocol::Mac;

fn networking(mode: Mode) -> Networking {
    Networking {
        mode,
        hosts: vec![
            ("fixed".to_owned(), HostAddress::Address("192.0.2.7".parse().unwrap())),
            ("host.docker.internal".to_owned(), HostAddress::HostGateway),
        ],
        ..Networking::default()
    }
}

fn files(mode: Mode) -> Files {
    Files { network: networking(mode), ..Files::default() }
}

fn host() -> HostFiles {
    HostFiles {
        hosts: "127.0.0.1 localhost\n10.0.0.1 myhost\n".to_owned(),
        resolv_conf: "nameserver 127.0.0.53\nsearch example\n".to_owned(),
    }
}

#[test]
fn hosts_have_localhost_what_was_added_and_each_own_address() {
    let mut files = files(Mode::Networks);
    files.network.domainname = "shop.example".to_owned();
    let mac = Mac([2, 66, 172, 17, 0, 2]);
    files.endpoints = vec![
        Live { ipv4: Some("172.17.0.2".parse().unwrap()), ipv6: None, mac },
        Live { ipv4: Some("172.18.0.2".parse().unwrap()), ipv6: Some("fd00::2".parse().unwrap()), mac },
    ];
    files.host_gateway = vec!["172.17.0.1".parse().unwrap()];
    let expected = "127.0.0.1\tlocalhost\n".to_owned()
        + LOCALHOST
        + "192.0.2.7\tfixed\n172.17.0.1\thost.docker.internal\n172.17.0.2\tweb.shop.example web\n\
           172.18.0.2\tweb.shop.example web\nfd00::2\tweb.shop.example web\n";
    assert_eq!(files.hosts("web", &host()), expected);
}

#[test]
fn without_networks_the_own_name_is_the_loopback_device_s() {
    let text = files(Mode::None).hosts("web", &host());
    assert!(text.starts_with("127.0.0.1\tlocalhost web\n::1\t"), "{text}");
    assert!(!text.contains("host.docker.internal"), "{text}");
    assert_eq!(files(Mode::None).resolv_conf(&host()), "search example\n");
}

#[test]
fn on_the_host_s_network_the_files_are_the_host_s() {
    let mut files = files(Mode::Host);
    let text = files.hosts("web", &host());
    assert_eq!(text, format!("192.0.2.7\tfixed\n127.0.0.1\thost.docker.internal\n{}", host().hosts));
    assert_eq!(files.resolv_conf(&host()), host().resolv_conf);
    files.network.dns = Dns { servers: vec!["192.0.2.1".parse().unwrap()], ..Dns::default() };
    assert_eq!(files.resolv_conf(&host()), "nameserver 192.0.2.1\nsearch example\n");
}

#[test]
fn names_that_would_be_more_than_a_name_are_left_out() {
    let mut files = files(Mode::Networks);
    files.network.hosts = ["a b", "a\n192.0.2.66 bank", "#", "", &"x".repeat(254), "ok"]
        .map(|name| (name.to_owned(), HostAddress::Address("192.0.2.1".parse().unwrap())))
        .to_vec();
    let text = files.hosts("web", &host());
    assert!(text.ends_with("ip6-allrouters\n192.0.2.1\tok\n"), "{text}");
}

#[test]
fn links_are_called_by_alias_host_name_and_name() {
    let other = Neighbour {
        id: "b".repeat(64),
        name: "db".to_owned(),
        hostname: "dbhost".to_owned(),
        aliases: Vec::new(),
        ipv4: Some("172.17.0.3".parse().unwrap()),
        ipv6: None,
    };
    let link = |alias: &str, container: char| Link {
        alias: alias.to_owned(),
        container: container.to_string().repeat(64),
    };
    let mut files = files(Mode::Networks);
    files.links = links(&[link("store", 'b'), link("db", 'b'), link("gone", 'c')], &[other]);
    let text = files.hosts("web", &host());
    assert!(text.ends_with("172.17.0.3\tstore dbhost db\n172.17.0.3\tdb dbhost\n"), "{text}");
}
