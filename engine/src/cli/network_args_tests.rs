use clap::Parser;

use super::*;
use crate::network::model::HostAddress;

#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    network: NetworkArgs,
}

fn read(words: &[&str]) -> Result<Network, anyhow::Error> {
    Line::parse_from(["test"].iter().chain(words)).network.read(false)
}

fn own(words: &[&str]) -> Asked {
    match read(words).unwrap() {
        Network::Own(asked) => *asked,
        Network::Joined(name) => panic!("joins {name}"),
    }
}

fn refused(words: &[&str]) -> String {
    read(words).unwrap_err().to_string()
}

#[test]
fn without_options_nothing_is_asked_for() {
    let asked = own(&[]);
    assert!(asked.networks.is_empty() && asked.links.is_empty());
    assert_eq!(asked.networking, Networking::default());
}

#[test]
fn networks_are_named_plainly_or_with_what_is_wanted_on_them() {
    let asked = own(&[
        "--network",
        "name=front,alias=q,alias=r,ip=10.20.0.77,mac-address=02:00:00:00:00:77",
        "--net",
        "back",
        "--ip6",
        "fd00::7",
        "--network-opt",
        "rx-bps=1m",
    ]);
    let [front, back] = asked.networks.as_slice() else { panic!("{asked:?}") };
    assert_eq!(front.settings.aliases, ["q", "r"]);
    assert_eq!(front.settings.ipv4, Some("10.20.0.77".parse().unwrap()));
    assert_eq!(front.settings.ipv6, Some("fd00::7".parse().unwrap()));
    assert_eq!(front.settings.mac.unwrap().to_string(), "02:00:00:00:00:77");
    assert_eq!(front.settings.rates.rx_bps, Some(1 << 20));
    assert_eq!(*back, Wish { network: "back".into(), ..Wish::default() });
    assert_eq!(own(&["--mac-address", "02:00:00:00:00:01"]).networks[0].network, "default");
}

// Compared with docker 28.2.2.
#[test]
fn what_is_wrong_is_told_in_dockers_words() {
    for (words, text) in [
        (&["--network", ""][..], "no name set for network"),
        (
            &["--network", "name=u1,foo=1"],
            "invalid argument \"name=u1,foo=1\" for \"--network\" flag: invalid field key foo",
        ),
        (
            &["--network", "alias=q"],
            "invalid argument \"alias=q\" for \"--network\" flag: network name/id is not specified",
        ),
        (
            &["--network", "name=u1,ip=10.20.0.7", "--ip", "10.20.0.8"],
            "conflicting options: cannot specify both --ip and per-network IPv4 address",
        ),
        (&["--ip", "nope"], "invalid IPv4 address: nope"),
        (&["--mac-address", "nope"], "nope is not a valid mac address"),
        (&["--mac-address", "01:00:5e:00:00:01"], "01:00:5e:00:00:01 is not a valid mac address"),
        (&["--add-host", "foo"], "bad format for add-host: \"foo\""),
        (&["--add-host", "foo:nope"], "invalid IP address in add-host: \"nope\""),
        (&["--dns", "nope"], "--dns: IP address is not correctly formatted: nope"),
        (&["--dns-option", "a b"], "--dns-option \"a b\" is not one word"),
        (&["--link", "a:b:c"], "bad format for links: a:b:c"),
        (
            &["--network-opt", "rx-bps=0"],
            "--network-opt \"rx-bps=0\": \"0\" is no amount a second (b, k, m, g)",
        ),
        (
            &["--network-opt", "x=1"],
            "--network-opt \"x=1\" is not known; there are rx-bps, tx-bps, rx-pps and tx-pps",
        ),
    ] {
        assert_eq!(refused(words), text, "{words:?}");
    }
}

#[test]
fn names_and_addresses_are_read_in_all_their_forms() {
    let asked = own(&[
        "--add-host",
        "a:1.1.1.1",
        "--add-host",
        "b=host-gateway",
        "--add-host",
        "c:[fd00::1]",
        "--add-host",
        "d:fd00::2",
        "--link",
        "db",
        "--link",
        "/web:www",
        "--dns",
        "1.2.3.4",
        "--dns-search",
        ".",
        "--dns-opt",
        "ndots:3",
        "--domainname",
        "example.org",
        "-P",
        "--expose",
        "100-102",
        "-p",
        "8080:80",
    ]);
    let networking = asked.networking;
    assert_eq!(networking.hosts[1], ("b".to_string(), HostAddress::HostGateway));
    assert_eq!(networking.hosts[2].1, HostAddress::Address("fd00::1".parse().unwrap()));
    assert_eq!(networking.hosts[3].1, HostAddress::Address("fd00::2".parse().unwrap()));
    assert_eq!(asked.links, [("db".into(), "db".into()), ("web".into(), "www".into())]);
    assert_eq!((networking.expose.len(), networking.publish.len()), (3, 1));
    assert!(networking.publish_all && networking.domainname == "example.org");
}

// Compared with dockerd 20.10.24.
#[test]
fn another_s_network_goes_with_nothing_of_one_s_own() {
    fn with<'a>(words: &[&'a str]) -> Vec<&'a str> {
        [&["--network", "container:web"], words].concat()
    }
    assert!(matches!(read(&with(&[])), Ok(Network::Joined(name)) if name == "web"));
    for (words, text) in [
        (&["-p", "80"][..], "conflicting options: port publishing and the container type network mode"),
        (&["--expose", "80"], "conflicting options: port exposing and the container type network mode"),
        (&["--egress", "deny"], "conflicting options: egress policy and the container type network mode"),
        (&["--dns", "1.1.1.1"], "conflicting options: dns and the network mode"),
        (&["--add-host", "a:1.1.1.1"], "conflicting options: custom host-to-IP mapping and the network mode"),
        (&["--mac-address", "02:00:00:00:00:01"], "conflicting options: mac-address and the network mode"),
    ] {
        assert_eq!(refused(&with(words)), text);
    }
    let line = Line::parse_from(["test"].into_iter().chain(with(&[])));
    assert_eq!(line.network.given(), Some("--network"));
    let error = line.network.read(true).unwrap_err().to_string();
    assert_eq!(error, "conflicting options: hostname and the network mode");
}
