use super::*;
use crate::store::db::containers::ContainerRow;
use crate::store::db::fixture::{Fixture, container, sandbox};

fn pod(id: &str, name: &str) -> PodRow {
    let mode = Isolation::Vm;
    PodRow { id: id.to_owned(), name: name.to_owned(), mode, created: 1, config: "{}".to_owned() }
}

#[test]
fn pods_are_found_by_id_name_and_start() {
    let fixture = Fixture::new();
    let db = fixture.db();
    db.add_pod(&pod("abc1", "one")).unwrap();
    db.add_pod(&pod("abd2", "two")).unwrap();
    assert_eq!(db.pod("abc1").unwrap(), pod("abc1", "one"));
    assert_eq!(db.pod("two").unwrap().id, "abd2");
    assert_eq!(db.pod("abd").unwrap().id, "abd2");
    assert!(matches!(db.pod("ab"), Err(Error::Ambiguous { what: "pod", .. })));
    assert!(matches!(db.pod("three"), Err(Error::NotFound { what: "pod", .. })));
    assert!(matches!(db.add_pod(&pod("e", "two")), Err(Error::PodNameTaken(name)) if name == "two"));
    assert_eq!(db.pods().unwrap().len(), 2);
}

#[test]
fn a_pod_stays_while_containers_are_in_it() {
    let fixture = Fixture::new();
    let db = fixture.db();
    db.add_pod(&pod("p", "one")).unwrap();
    db.add_container(&ContainerRow { pod: Some("p".to_owned()), ..container("a", "a") }).unwrap();
    db.begin_sandbox(&sandbox("p"), None, &["a"]).unwrap();
    assert_eq!(db.containers_of_pod("p").unwrap().len(), 1);
    let error = db.remove_pod("p").unwrap_err();
    assert_eq!(error.to_string(), "Pod one has 1 container(s); remove them first");
    db.end_sandbox("p").unwrap();
    db.conclude("a", None, true, None).unwrap();
    db.remove_pod("p").unwrap();
    db.remove_pod("p").unwrap();
    assert!(db.pods().unwrap().is_empty());
    let told = fixture.events();
    assert_eq!(
        (told[0].as_str(), told.last().unwrap().as_str()),
        ("p create name=one", "p destroy name=one")
    );
    assert_eq!(told.len(), 4);
}
