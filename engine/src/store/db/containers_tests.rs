use std::collections::HashSet;

use super::*;
use crate::store::db::fixture::{Fixture, container, sandbox};
use crate::store::db::states::{Change, ContainerState};

#[test]
fn sandboxes_get_the_smallest_free_uid() {
    let fixture = Fixture::new();
    let db = fixture.db();
    let uid = |id: &str| db.begin_sandbox(&sandbox(id), Some((1000, 3)), &[]).map(|row| row.uid);
    assert_eq!(uid("a").unwrap(), Some(1000));
    assert_eq!(uid("b").unwrap(), Some(1001));
    assert_eq!(uid("c").unwrap(), Some(1002));
    assert!(matches!(uid("d"), Err(Error::NoFreeUid { first: 1000, count: 3 })));
    db.end_sandbox("b").unwrap();
    assert_eq!(uid("e").unwrap(), Some(1001));
    assert_eq!(db.begin_sandbox(&sandbox("f"), None, &[]).unwrap().uid, None);
    assert_eq!(db.sandboxes().unwrap().len(), 4);
}

#[test]
fn writers_in_many_threads_and_connections_get_different_uids() {
    let fixture = Fixture::new();
    let uids: Vec<_> = std::thread::scope(|scope| {
        let start = |thread: u32| {
            let fixture = &fixture;
            scope.spawn(move || {
                let store = fixture.another();
                let add = |n| {
                    let sandbox = sandbox(&format!("{thread}-{n}"));
                    store.db().begin_sandbox(&sandbox, Some((1000, 1000)), &[]).unwrap()
                };
                (0..10).map(|n| add(n).uid.unwrap()).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..4).map(start).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(uids.iter().collect::<HashSet<_>>().len(), 40);
    assert_eq!(uids.iter().max(), Some(&1039));
}

#[test]
fn containers_are_found_by_id_name_and_start() {
    let fixture = Fixture::new();
    let db = fixture.db();
    db.add_container(&container("abc1", "one")).unwrap();
    db.add_container(&container("abd2", "two")).unwrap();
    assert_eq!(db.container("abc1").unwrap().name, "one");
    assert_eq!(db.container("two").unwrap().id, "abd2");
    assert_eq!(db.container("abd").unwrap().name, "two");
    assert!(matches!(db.container("ab"), Err(Error::Ambiguous { .. })));
    assert!(matches!(db.container("*"), Err(Error::NotFound { .. })));
    assert!(matches!(db.container(""), Err(Error::NotFound { .. })));
}

#[test]
fn names_are_taken_once_and_images_must_be_there() {
    let fixture = Fixture::new();
    let db = fixture.db();
    db.add_container(&container("a", "one")).unwrap();
    assert!(matches!(db.add_container(&container("b", "one")), Err(Error::NameTaken(name)) if name == "one"));
    let stranger = ContainerRow { image: Digest::of(b"gone"), ..container("c", "two") };
    assert!(matches!(db.add_container(&stranger), Err(Error::NotFound { what: "image", .. })));
}

#[test]
fn rows_come_back_as_they_went_in() {
    let fixture = Fixture::new();
    let db = fixture.db();
    db.begin_sandbox(&sandbox("s"), None, &[]).unwrap();
    let row = ContainerRow {
        sandbox: Some("s".to_owned()),
        state: ContainerState::Paused,
        started: 2,
        finished: 3,
        pid: u32::MAX,
        exit_code: -1,
        oom_killed: true,
        error: "no".to_owned(),
        restarts: 4,
        stopped: true,
        health: "{}".to_owned(),
        ..container("a", "one")
    };
    db.add_container(&row).unwrap();
    assert_eq!(db.container("a").unwrap(), row);
    assert_eq!(db.containers().unwrap(), [row]);
}

#[test]
fn a_sandbox_begins_and_ends_with_its_containers() {
    let fixture = Fixture::new();
    let db = fixture.db();
    for id in ["a", "b"] {
        db.add_container(&container(id, id)).unwrap();
    }
    assert!(db.begin_sandbox(&sandbox("s"), None, &["a", "gone"]).is_err());
    assert!(db.sandboxes().unwrap().is_empty(), "all or nothing");
    db.begin_sandbox(&sandbox("s"), Some((1000, 1)), &["a"]).unwrap();
    assert!(
        matches!(db.begin_sandbox(&sandbox("s"), None, &["a"]), Err(Error::SandboxExists(id)) if id == "s")
    );
    assert!(
        matches!(db.begin_sandbox(&sandbox("t"), None, &["a"]), Err(Error::SandboxExists(id)) if id == "s")
    );
    db.join_sandbox("s", "b").unwrap();
    assert_eq!(db.containers_of_sandbox("s").unwrap().len(), 2);
    db.end_sandbox("s").unwrap();
    db.end_sandbox("s").unwrap();
    assert!(db.containers().unwrap().iter().all(|row| row.sandbox.is_none()));
    assert!(db.sandboxes().unwrap().is_empty());
}

#[test]
fn what_is_being_removed_enters_no_sandbox() {
    let fixture = Fixture::new();
    let db = fixture.db();
    db.add_container(&container("a", "one")).unwrap();
    db.change("a", &Change::Removing).unwrap();
    assert!(matches!(db.begin_sandbox(&sandbox("s"), None, &["a"]), Err(Error::State { .. })));
}

#[test]
fn a_container_that_ends_while_it_is_removed_stays_in_removal() {
    let fixture = Fixture::new();
    let db = fixture.db();
    let row = ContainerRow { sandbox: Some("s".to_owned()), ..container("a", "one") };
    db.add_sandbox_with_container(&sandbox("s"), None, &row, With::default()).unwrap();
    db.change("a", &Change::Removing).unwrap();
    let killed = Change::Exited { exit_code: 137, oom_killed: false, error: String::new() };
    db.conclude("a", Some(&killed), false, Some("s")).unwrap();
    let row = db.container("a").unwrap();
    assert_eq!((row.state, row.exit_code, row.sandbox), (ContainerState::Removing, 137, None));
    assert!(db.sandboxes().unwrap().is_empty());
    db.conclude("a", None, true, Some("s")).unwrap();
    db.conclude("a", None, true, Some("s")).unwrap();
    assert!(db.containers().unwrap().is_empty());
}
