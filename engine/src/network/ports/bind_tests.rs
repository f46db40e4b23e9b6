use std::net::{TcpListener, TcpStream, UdpSocket};

use super::super::parse::{expose, publish};
use super::*;

struct Fixture {
    _folder: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
        Fixture { _folder: folder, store }
    }

    fn bind(&self, specs: &[&str]) -> Result<Bound, PortError> {
        bind(&self.store, "owner", &networking(specs))
    }
}

fn networking(specs: &[&str]) -> Networking {
    let specs: Vec<String> = specs.iter().map(|spec| (*spec).to_owned()).collect();
    Networking { publish: publish(&specs).unwrap(), ..Networking::default() }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

fn shown(bound: &Bound) -> Vec<String> {
    bound.ports.iter().map(|port| format!("{} {}", port.at, port.container)).collect()
}

#[test]
fn a_port_is_taken_at_all_addresses_of_both_families_and_recorded() {
    let (fixture, port) = (Fixture::new(), free_port());
    let bound = fixture.bind(&[&format!("{port}:80"), &format!("{port}:53/udp")]).unwrap();
    let mut ports = shown(&bound);
    ports.sort();
    let expected = ["0.0.0.0:P 53/udp", "0.0.0.0:P 80/tcp", "[::]:P 53/udp", "[::]:P 80/tcp"];
    assert_eq!(ports, expected.map(|text| text.replace('P', &port.to_string())));
    assert_eq!(fixture.store.db().published_of("owner").unwrap().len(), 4);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    assert!(TcpStream::connect(("::1", port)).is_ok());
    drop(bound);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(TcpListener::bind(("0.0.0.0", port)).is_ok());
}

#[test]
fn a_random_port_is_the_same_in_both_families() {
    let bound = Fixture::new().bind(&["80", "81/udp", "127.0.0.1::82"]).unwrap();
    let [a, b, c, d, e] = bound.ports.as_slice() else { panic!("{bound:?}") };
    assert!(a.at.port() != 0 && a.at.port() == b.at.port() && c.at.port() == d.at.port());
    assert_eq!((a.at.ip().to_string(), b.at.ip().to_string()), ("0.0.0.0".into(), "::".into()));
    assert_eq!(e.at.ip().to_string(), "127.0.0.1");
}

#[test]
fn a_taken_port_is_told_with_the_container_that_has_it() {
    let (fixture, port) = (Fixture::new(), free_port());
    let error = |specs: &[&str]| fixture.bind(specs).unwrap_err().to_string();
    let stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let expected = format!("Bind for 0.0.0.0:{port} failed: port is already allocated");
    assert_eq!(error(&[&format!("{port}:80")]), expected);
    drop(stranger);
    let _bound = fixture.bind(&[&format!("127.0.0.1:{port}:80")]).unwrap();
    assert_eq!(error(&[&format!("{port}:80")]), format!("{expected} (by owner)"));
    // IPv6 is another matter.
    drop(fixture.bind(&[&format!("[::]:{port}:80")]).unwrap());
}

#[test]
fn a_port_taken_twice_by_one_container_is_told_so_and_nothing_is_kept() {
    let (fixture, port) = (Fixture::new(), free_port());
    let error = fixture.bind(&[&format!("{port}:80"), &format!("{port}:81")]).unwrap_err();
    assert!(error.to_string().ends_with("already allocated (by this container itself)"), "{error}");
    assert!(fixture.store.db().published_of("owner").unwrap().is_empty());
    assert!(TcpListener::bind(("0.0.0.0", port)).is_ok());
}

#[test]
fn the_first_free_port_of_a_range_is_taken_after_the_fixed_ones() {
    let fixture = Fixture::new();
    let free = |first: u16| (first..first + 4).all(|port| UdpSocket::bind(("0.0.0.0", port)).is_ok());
    let first = (20_000..30_000).step_by(7).find(|first| free(*first)).unwrap();
    let range = format!("127.0.0.1:{first}-{}:80/udp", first + 2);
    let fixed = format!("127.0.0.1:{first}:90/udp");
    let bound = fixture.bind(&[&range, &fixed, &range.replace(":80/", ":81/")]).unwrap();
    let ports: Vec<(u16, u16)> =
        bound.ports.iter().map(|port| (port.container.number, port.at.port() - first)).collect();
    assert_eq!(ports, [(90, 0), (80, 1), (81, 2)]);
    let error = fixture.bind(&[&range]).unwrap_err().to_string();
    let expected = format!("Bind for 127.0.0.1:{first}-{} failed: all ports are allocated", first + 2);
    assert_eq!(error, expected);
}

#[test]
fn an_address_that_the_host_has_not_is_refused() {
    let error = Fixture::new().bind(&["192.0.2.1:80:80"]).unwrap_err();
    assert_eq!(error.to_string(), "Bind for 192.0.2.1:80 failed: this host has no such address");
}

#[test]
fn all_exposed_ports_that_no_option_names_get_random_ones() {
    let specs = ["80".to_owned(), "81".to_owned()];
    let mut networking = networking(&["127.0.0.1::80"]);
    (networking.expose, networking.publish_all) = (expose(&specs).unwrap(), true);
    let fixture = Fixture::new();
    let bound = bind(&fixture.store, "owner", &networking).unwrap();
    let ports: Vec<u16> = bound.ports.iter().map(|port| port.container.number).collect();
    assert_eq!(ports, [80, 81, 81]);
    networking.expose = expose(&["90/sctp".to_owned()]).unwrap();
    assert!(matches!(bind(&fixture.store, "owner", &networking), Err(PortError::Sctp(_))));
}

#[test]
fn every_port_leads_to_the_containers_address_of_its_family_if_there_is_one() {
    let bound = Fixture::new().bind(&["80"]).unwrap();
    let (ipv4, ipv6) = (Ipv4Addr::new(172, 17, 0, 2), "fd00::2".parse::<Ipv6Addr>().unwrap());
    let targets = |ipv4, ipv6| -> Vec<String> {
        bound.ports.iter().filter_map(|port| port.target(ipv4, ipv6)).map(|at| at.to_string()).collect()
    };
    assert_eq!(targets(Some(ipv4), Some(ipv6)), ["172.17.0.2:80", "[fd00::2]:80"]);
    assert_eq!(targets(Some(ipv4), None), ["172.17.0.2:80", "172.17.0.2:80"]);
    assert!(targets(None, None).is_empty());
}
