use super::*;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// As `address host-ports container-port`.
fn shown(spec: &str) -> Vec<String> {
    publish(&words(&[spec])).unwrap().iter().map(show).collect()
}

fn show(publish: &Publish) -> String {
    let address = publish.address.map_or("*".to_owned(), |address| address.to_string());
    let host = publish.host.map_or("any".to_owned(), |(first, last)| format!("{first}-{last}"));
    format!("{address} {host} {}", publish.container)
}

fn error(spec: &str) -> String {
    publish(&words(&[spec])).unwrap_err().to_string()
}

#[test]
fn every_form_of_dockers_is_understood() {
    for (spec, expected) in [
        ("80", "* any 80/tcp"),
        (":80", "* any 80/tcp"),
        ("0:80", "* any 80/tcp"),
        ("8080:80", "* 8080-8080 80/tcp"),
        ("8080:80/udp", "* 8080-8080 80/udp"),
        ("8080:80/UDP", "* 8080-8080 80/udp"),
        ("80/", "* any 80/tcp"),
        ("127.0.0.1:8080:80", "127.0.0.1 8080-8080 80/tcp"),
        ("127.0.0.1::80", "127.0.0.1 any 80/tcp"),
        ("[::1]:8080:80", "::1 8080-8080 80/tcp"),
        ("[::1]::80", "::1 any 80/tcp"),
        ("::1:80:81", "::1 80-80 81/tcp"),
        ("[::ffff:10.0.0.1]:80:81", "10.0.0.1 80-80 81/tcp"),
        ("0.0.0.0:80:81", "0.0.0.0 80-80 81/tcp"),
        ("8000-8010:90", "* 8000-8010 90/tcp"),
        ("1.2.3.4:8000-8010:90/udp", "1.2.3.4 8000-8010 90/udp"),
        ("published=8080,target=80,protocol=udp", "* 8080-8080 80/udp"),
        ("target=80", "* any 80/tcp"),
    ] {
        assert_eq!(shown(spec), [expected], "{spec}");
    }
    assert_eq!(shown("80-81"), ["* any 80/tcp", "* any 81/tcp"]);
    assert_eq!(shown("90-91:80-81"), ["* 90-90 80/tcp", "* 91-91 81/tcp"]);
    assert_eq!(shown("[::]:90-91:80-81/udp"), [":: 90-90 80/udp", ":: 91-91 81/udp"]);
}

/// Texts of docker's client 28.2.
#[test]
fn bad_words_are_told_as_docker_tells_them() {
    for (spec, expected) in [
        ("x", "invalid containerPort: x"),
        ("80:x", "invalid containerPort: x"),
        ("80:", "no port specified: 80:<empty>"),
        ("", "no port specified: <empty>"),
        ("/tcp", "no port specified: /tcp<empty>"),
        ("a:80:80", "invalid IP address: a"),
        ("1.2.3:80:80", "invalid IP address: 1.2.3"),
        (":::80", "invalid IP address: :"),
        ("80-81:90-92", "invalid ranges specified for container and host Ports: 90-92 and 80-81"),
        ("80/xyz", "invalid proto: xyz"),
        ("70000", "invalid containerPort: 70000"),
        ("80-70", "invalid containerPort: 80-70"),
        ("1-70000", "invalid containerPort: 1-70000"),
        ("-80", "invalid containerPort: -80"),
        ("80-", "invalid containerPort: 80-"),
        ("+80", "invalid containerPort: +80"),
        (" 80", "invalid containerPort:  80"),
        ("1.2.3.4:80", "invalid hostPort: 1.2.3.4"),
        ("published=80,target=x", "invalid containerPort: x"),
        ("published=80,foo", "invalid publish opts format (should be name=value but got 'foo')"),
    ] {
        assert_eq!(error(spec), expected, "{spec}");
    }
}

/// Docker takes these and does something else.
#[test]
fn words_that_docker_misreads_are_refused() {
    for spec in ["80:0", "1-2-3", "80:80/tcp/x", "0-5:80", "ip=1.2.3.4,target=80", "[::1:8080:80"] {
        assert!(publish(&words(&[spec])).is_err(), "{spec}");
    }
    assert_eq!(error("80:80/sctp"), "SCTP ports cannot be published, only TCP and UDP: 80:80/sctp");
}

#[test]
fn a_port_given_twice_is_published_once() {
    assert_eq!(publish(&words(&["80:80", "80-81:80-81", "127.0.0.1:80:80"])).unwrap().len(), 3);
}

#[test]
fn there_is_a_most_of_ports() {
    assert_eq!(publish(&words(&["1-4096"])).unwrap().len(), MOST);
    assert_eq!(publish(&words(&["1-4097"])), Err(ParseError::TooMany));
    assert_eq!(publish(&words(&["1-4096", "5000"])), Err(ParseError::TooMany));
    assert_eq!(expose(&words(&["1-65535"])), Err(ParseError::TooMany));
    assert_eq!(exposed_by_image(["1-65535"]), Err(ParseError::TooMany));
    assert_eq!(publish(&words(&["1-65535:80"])).unwrap().len(), 1);
}

#[test]
fn exposed_ports_are_single_or_ranges() {
    let shown = |specs: &[&str]| -> Vec<String> {
        expose(&words(specs)).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown(&["80", "53/udp", "80/tcp"]), ["53/udp", "80/tcp"]);
    assert_eq!(shown(&["80-82/sctp"]), ["80/sctp", "81/sctp", "82/sctp"]);
    for (spec, expected) in [
        ("80:80", "invalid port format for --expose: 80:80"),
        ("", "invalid range format for --expose: , error: empty string specified for ports"),
        ("80/xyz", "invalid proto: xyz"),
    ] {
        assert_eq!(expose(&words(&[spec])).unwrap_err().to_string(), expected);
    }
    assert!(expose(&words(&["80-70"])).is_err() && expose(&words(&["0"])).is_err());
}

#[test]
fn an_image_exposes_what_can_be_read_of_its_config() {
    let ports = exposed_by_image(["80/tcp", "443", "x/tcp", "0/udp", "8000-8001/udp"]).unwrap();
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["80/tcp", "443/tcp", "8000/udp", "8001/udp"]);
    assert_eq!(one_port("80"), one_port("80/tcp"));
    assert_eq!((one_port("0"), one_port("80/x"), one_port("")), (None, None, None));
}
