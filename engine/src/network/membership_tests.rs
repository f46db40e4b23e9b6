use super::*;
use crate::container::remove::tests::Fixture;
use crate::network::create;
use crate::network::model::Mode;

/// A container "a" that has ended, of this mode, and the network "front".
fn fixture(mode: Mode) -> Fixture {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let row = fixture.running("a", false);
    let exited = Change::Exited { exit_code: 0, oom_killed: false, error: String::new() };
    store.db().conclude("a", Some(&exited), false, Some("a")).unwrap();
    let mut config = Config::from_row(&row).unwrap();
    config.network.mode = mode;
    store.db().change("a", &Change::Config { json: config.to_row() }).unwrap();
    let asked = create::Asked { name: "front".into(), driver: "bridge".into(), ..create::Asked::default() };
    create::create(store, asked, Vec::new).unwrap();
    fixture
}

fn connected(fixture: &Fixture, network: &str) -> Result<(), NetworkError> {
    let wish = Wish { network: network.into(), ..Wish::default() };
    connect(&fixture.store, "a", wish, &[])
}

fn networks(fixture: &Fixture) -> Vec<String> {
    let rows = fixture.store.db().endpoints_of("a").unwrap();
    rows.into_iter().map(|row| row.settings.network).collect()
}

#[test]
fn a_container_that_does_not_run_is_connected_with_its_next_start() {
    let fixture = fixture(Mode::Networks);
    connected(&fixture, "front").unwrap();
    connected(&fixture, "bridge").unwrap();
    assert_eq!(networks(&fixture), ["front", "bridge"]);
    assert_eq!(connected(&fixture, "front").unwrap_err().to_string(), "a is on network front already");
    disconnect(&fixture.store, "front", "a", false).unwrap();
    assert_eq!(networks(&fixture), ["bridge"]);
    let error = disconnect(&fixture.store, "front", "a", false).unwrap_err().to_string();
    assert_eq!(error, "container name of a is not connected to network front");
}

// Compared with dockerd 20.10.24.
#[test]
fn the_host_s_network_and_none_are_nothing_to_connect_to() {
    let private =
        "container cannot be connected to multiple networks with one of the networks in private (none) mode";
    let host = "container cannot be disconnected from host network or connected to host network";
    let on = fixture(Mode::Networks);
    assert_eq!(connected(&on, "host").unwrap_err().to_string(), host);
    assert_eq!(connected(&on, "none").unwrap_err().to_string(), private);
    assert_eq!(connected(&on, "nosuch").unwrap_err().to_string(), "No such network: nosuch");
    let of_host = fixture(Mode::Host);
    assert!(matches!(connected(&of_host, "front"), Err(NetworkError::Shared)));
    assert_eq!(disconnect(&of_host.store, "host", "a", false).unwrap_err().to_string(), host);
    let without = fixture(Mode::None);
    assert_eq!(connected(&without, "front").unwrap_err().to_string(), private);
    disconnect(&without.store, "none", "a", false).unwrap();
    connected(&without, "front").unwrap();
    assert_eq!(networks(&without), ["front"]);
}

#[test]
fn who_is_not_there_is_told_so() {
    let fixture = fixture(Mode::Networks);
    let wish = Wish { network: "front".into(), ..Wish::default() };
    let error = connect(&fixture.store, "nosuch", wish, &[]).unwrap_err().to_string();
    assert_eq!(error, "No such container: nosuch");
}
