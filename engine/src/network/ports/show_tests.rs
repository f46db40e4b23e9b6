use super::super::parse::{one_port, publish};
use super::*;

/// Of `address:port->port/protocol`.
fn rows(words: &[&str]) -> Vec<PublishedRow> {
    let row = |word: &&str| {
        let (at, container) = word.split_once("->").unwrap();
        let at: SocketAddr = at.parse().unwrap();
        let (owner, container) = ("owner".to_owned(), one_port(container).unwrap());
        PublishedRow { owner, container, address: at.ip(), host_port: at.port() }
    };
    words.iter().map(row).collect()
}

fn ports(words: &[&str]) -> Vec<Port> {
    words.iter().map(|word| one_port(word).unwrap()).collect()
}

/// As docker's client 28.2 shows them.
#[test]
fn column_merges_neighbours_as_docker_does() {
    for (published, exposed, expected) in [
        (
            &["0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp"][..],
            &[][..],
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
        ),
        (&[], &["80"], "80/tcp"),
        (&[], &["80", "443", "81"], "80-81/tcp, 443/tcp"),
        (
            &["0.0.0.0:8080->80", "[::]:8080->80", "0.0.0.0:8081->81", "[::]:8081->81"],
            &["80", "81"],
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 0.0.0.0:8081->81/tcp, [::]:8081->81/tcp",
        ),
        (
            &["0.0.0.0:53->53/udp", "0.0.0.0:53->53/tcp", "[::]:53->53/udp"],
            &[],
            "0.0.0.0:53->53/tcp, 0.0.0.0:53->53/udp, [::]:53->53/udp",
        ),
        (
            &["0.0.0.0:80->80", "0.0.0.0:81->81", "[::]:80->80", "[::]:81->81"],
            &["90", "91", "92/udp"],
            "0.0.0.0:80-81->80-81/tcp, [::]:80-81->80-81/tcp, 90-91/tcp, 92/udp",
        ),
        (
            &["0.0.0.0:32768->80", "0.0.0.0:8080->80", "10.0.0.1:8080->80"],
            &[],
            "0.0.0.0:8080->80/tcp, 0.0.0.0:32768->80/tcp, 10.0.0.1:8080->80/tcp",
        ),
        (&["[::1]:8080->80"], &[], "[::1]:8080->80/tcp"),
    ] {
        assert_eq!(column(&rows(published), &ports(exposed)), expected);
    }
}

#[test]
fn lines_are_in_dockers_order() {
    let rows = rows(&[
        "0.0.0.0:100->9",
        "0.0.0.0:8080->80",
        "[::]:8080->80",
        "127.0.0.1:53->53/udp",
        "0.0.0.0:90->9",
    ]);
    let expected = [
        "9/tcp -> 0.0.0.0:90",
        "9/tcp -> 0.0.0.0:100",
        "53/udp -> 127.0.0.1:53",
        "80/tcp -> 0.0.0.0:8080",
        "80/tcp -> [::]:8080",
    ];
    assert_eq!(lines(&rows, None), expected);
    assert_eq!(lines(&rows, one_port("80")), ["0.0.0.0:8080", "[::]:8080"]);
    assert!(lines(&rows, one_port("53")).is_empty());
}

#[test]
fn inspect_tells_what_is_bound_and_what_was_asked_for() {
    let settings = settings(&rows(&["0.0.0.0:8080->80", "[::]:8080->80"]), &ports(&["80", "443"]));
    let expected = r#"{"443/tcp":null,"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}]}"#;
    assert_eq!(settings.to_string(), expected);
    let publish = publish(&["80".into(), "127.0.0.1:8000-8001:81".into()]).unwrap();
    let networking = Networking { publish, expose: ports(&["90/udp"]), ..Networking::default() };
    let expected = r#"{"80/tcp":[{"HostIp":"","HostPort":""}],"81/tcp":[{"HostIp":"127.0.0.1","HostPort":"8000-8001"}]}"#;
    assert_eq!(bindings(&networking).to_string(), expected);
    assert_eq!(exposed(&networking).unwrap().to_string(), r#"{"80/tcp":{},"81/tcp":{},"90/udp":{}}"#);
    assert_eq!(exposed(&Networking::default()), None);
}
