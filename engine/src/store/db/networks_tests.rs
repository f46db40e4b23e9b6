use super::*;
use crate::network::model::{Driver, EndpointSettings, NetworkSettings, Pool};
use crate::store::Kind;
use crate::store::With;
use crate::store::db::fixture::{Fixture, container, sandbox};

fn network(id: &str, name: &str) -> NetworkRow {
    let pools = vec![Pool::of("10.1.0.0/24".parse().unwrap(), None, true)];
    let settings = NetworkSettings { pools, ..NetworkSettings::default() };
    NetworkRow { id: id.into(), name: name.into(), driver: Driver::Bridge, created: 1, settings }
}

fn endpoint(id: &str, network: &str, owner: &str, position: u8) -> EndpointRow {
    let settings = EndpointSettings { network: "front".into(), ..EndpointSettings::default() };
    let (id, network, owner) = (id.into(), network.into(), owner.into());
    EndpointRow { id, network, owner, position, settings, live: None }
}

fn add(db: &Database, row: NetworkRow) -> Result<Vec<NetworkRow>> {
    db.add_networks(|_| Ok::<_, ()>(vec![row])).map(Result::unwrap)
}

/// A container "c" with an endpoint "e" on the network "n1", "front".
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    add(fixture.db(), network("a1", "front")).unwrap();
    let row = container("c", "web");
    let endpoint = endpoint("e", "a1", "c", 0);
    fixture.db().add_sandbox_with_container(&sandbox("c"), None, &row, with(&[endpoint])).unwrap();
    fixture
}

fn with(endpoints: &[EndpointRow]) -> With<'_> {
    With { endpoints, volumes: &[] }
}

fn live(last: u8) -> Live {
    let ipv4 = Some([10, 1, 0, last].into());
    Live { ipv4, ipv6: None, mac: hull_guest::protocol::Mac([2, 0x42, 10, 1, 0, last]) }
}

fn claim(db: &Database, owner: &str, last: u8) -> Result<Vec<(EndpointRow, NetworkRow)>> {
    let choose = |claims: &[Claim]| Ok::<_, ()>(claims.iter().map(|_| live(last)).collect());
    db.claim_addresses(owner, choose).map(Result::unwrap)
}

#[test]
fn networks_are_found_by_id_name_and_start_of_id_and_their_names_are_one_s_own() {
    let fixture = Fixture::new();
    let db = fixture.db();
    let row = network("ab12", "front");
    add(db, row.clone()).unwrap();
    for wanted in ["ab12", "front", "ab"] {
        assert_eq!(db.network(wanted).unwrap(), row);
    }
    assert_eq!(db.network("x").unwrap_err().to_string(), "No such network: x");
    let error = add(db, network("ab13", "front")).unwrap_err();
    assert_eq!(error.to_string(), "The name \"front\" is in use by another network");
    add(db, network("ab13", "back")).unwrap();
    assert_eq!(db.network("ab").unwrap_err().kind(), Kind::Conflict);
    assert_eq!(fixture.events(), ["ab12 create name=front type=bridge", "ab13 create name=back type=bridge"]);
}

#[test]
fn addresses_are_claimed_once_and_given_back_with_events() {
    let fixture = fixture();
    let db = fixture.db();
    let before = fixture.events().len();
    let claimed = claim(db, "c", 2).unwrap();
    assert_eq!(claimed[0].0.live, Some(live(2)));
    assert_eq!(claim(db, "c", 9).unwrap(), claimed, "what it has it keeps");
    assert_eq!(db.endpoints_on("a1").unwrap()[0].live, Some(live(2)));
    let published = "INSERT INTO published VALUES ('c', 'tcp', 80, '::', 8080)";
    db.write("publish", |tx| Ok(tx.execute_batch(published)?)).unwrap();
    db.release_addresses("c", Some("e")).unwrap();
    assert_eq!(db.published_of("c").unwrap().len(), 1);
    db.release_addresses("c", None).unwrap();
    assert!(db.endpoints().unwrap()[0].live.is_none() && db.published_of("c").unwrap().is_empty());
    let told = ["connect", "disconnect"].map(|word| format!("a1 {word} container=c name=front type=bridge"));
    assert_eq!(fixture.events()[before..], told);
}

#[test]
fn an_address_has_one_owner() {
    let fixture = fixture();
    let db = fixture.db();
    claim(db, "c", 2).unwrap();
    db.add_container_with(&container("d", "db"), with(&[endpoint("f", "a1", "d", 0)])).unwrap();
    assert!(claim(db, "d", 2).is_err());
    let seen = |claims: &[Claim]| Err::<Vec<Live>, _>(claims[0].others.clone());
    assert_eq!(db.claim_addresses("d", seen).unwrap().unwrap_err(), [live(2)]);
    assert!(db.endpoints_of("d").unwrap()[0].live.is_none());
}

#[test]
fn a_network_stays_while_something_up_is_on_it() {
    let fixture = fixture();
    let db = fixture.db();
    claim(db, "c", 2).unwrap();
    assert_eq!(db.remove_network("a1").unwrap_err().kind(), Kind::InUse);
    db.release_addresses("c", None).unwrap();
    db.remove_network("a1").unwrap();
    assert_eq!(fixture.events().last().unwrap(), "a1 destroy name=front type=bridge");
    // As docker's: the container keeps its place on it, and does not start.
    assert_eq!(db.endpoints_of("c").unwrap().len(), 1);
    assert_eq!(claim(db, "c", 2).unwrap_err().to_string(), "No such network: front");
    let left = &db.endpoints_of("c").unwrap()[0];
    assert_eq!(db.network_of(left).unwrap_err().to_string(), "No such network: front");
    assert_eq!(db.remove_network("a1").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn a_container_or_pod_takes_its_endpoints_with_it() {
    let fixture = fixture();
    let db = fixture.db();
    claim(db, "c", 2).unwrap();
    db.conclude("c", None, true, Some("c")).unwrap();
    assert!(db.endpoints().unwrap().is_empty());
    let mode = crate::sandbox::mode::Isolation::Vm;
    let pod =
        crate::store::PodRow { id: "p".into(), name: "pod".into(), mode, created: 1, config: "{}".into() };
    db.add_pod_with(&pod, &[endpoint("g", "a1", "p", 0)]).unwrap();
    db.remove_pod("p").unwrap();
    assert!(db.endpoints().unwrap().is_empty());
    let gone = endpoint("h", "a2", "d", 0);
    assert_eq!(
        db.add_container_with(&container("d", "db"), with(&[gone])).unwrap_err().kind(),
        Kind::NotFound
    );
    assert!(db.container("d").is_err());
}

#[test]
fn an_endpoint_added_later_gets_the_first_free_position() {
    let fixture = fixture();
    let db = fixture.db();
    for (id, name) in [("a2", "two"), ("a3", "three"), ("a4", "four")] {
        add(db, network(id, name)).unwrap();
    }
    let add = |id: &str, network: &str| db.add_endpoint(&endpoint(id, network, "c", 0), 3);
    assert_eq!(add("f", "a2").unwrap().position, 1);
    assert_eq!(add("g", "a3").unwrap().position, 2);
    assert_eq!(add("h", "a4").unwrap_err().to_string(), "c is on 3 networks, and more it cannot be on");
    assert_eq!(add("i", "a3").unwrap_err().to_string(), "c is on network three already");
    db.remove_endpoint("f").unwrap();
    assert_eq!(add("h", "a4").unwrap().position, 1);
}
