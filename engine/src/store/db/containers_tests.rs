use std::collections::HashSet;

use super::*;
use crate::store::Store;
use crate::store::db::images::NewImage;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
    let image = Digest::of(b"image");
    let (created, layers, blobs, names) = (String::new(), Vec::new(), Vec::new(), Vec::new());
    let new = NewImage { id: image, manifest: image, chain: image, created, added: 1, layers, blobs, names };
    store.db().add_images(&[new]).unwrap();
    (folder, store)
}

fn sandbox(id: &str) -> NewSandbox {
    NewSandbox { id: id.to_owned(), boot_id: "boot".to_owned(), mode: "vm".to_owned(), created: 1 }
}

fn container(id: &str, name: &str) -> ContainerRow {
    ContainerRow {
        id: id.to_owned(),
        name: name.to_owned(),
        image: Digest::of(b"image"),
        sandbox: None,
        mode: "vm".to_owned(),
        state: ContainerState::Created,
        created: 1,
        exit_code: None,
        config: r#"{"a":1}"#.to_owned(),
    }
}

#[test]
fn sandboxes_get_the_smallest_free_uid() {
    let (_folder, store) = store();
    let db = store.db();
    let uid = |id: &str| db.add_sandbox(&sandbox(id), Some((1000, 3))).map(|row| row.uid);
    assert_eq!(uid("a").unwrap(), Some(1000));
    assert_eq!(uid("b").unwrap(), Some(1001));
    assert_eq!(uid("c").unwrap(), Some(1002));
    assert!(matches!(uid("d"), Err(Error::NoFreeUid { first: 1000, count: 3 })));
    db.remove_sandbox("b").unwrap();
    assert_eq!(uid("e").unwrap(), Some(1001));
    assert_eq!(db.add_sandbox(&sandbox("f"), None).unwrap().uid, None);
    assert_eq!(db.sandboxes().unwrap().len(), 4);
}

#[test]
fn writers_in_many_threads_and_connections_get_different_uids() {
    let (folder, _store) = store();
    let uids: Vec<_> = std::thread::scope(|scope| {
        let start = |thread: u32| {
            let folder = folder.path();
            scope.spawn(move || {
                let store = Store::open(&folder.join("lib"), &folder.join("run")).unwrap();
                let add = |n| {
                    store.db().add_sandbox(&sandbox(&format!("{thread}-{n}")), Some((1000, 1000))).unwrap()
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
    let (_folder, store) = store();
    let db = store.db();
    db.add_container(&container("abc1", "one")).unwrap();
    db.add_container(&container("abd2", "two")).unwrap();
    assert_eq!(db.container("abc1").unwrap().name, "one");
    assert_eq!(db.container("two").unwrap(), container("abd2", "two"));
    assert_eq!(db.container("abd").unwrap().name, "two");
    assert!(matches!(db.container("ab"), Err(Error::Ambiguous { .. })));
    assert!(matches!(db.container("*"), Err(Error::NotFound { .. })));
    assert!(matches!(db.container(""), Err(Error::NotFound { .. })));
}

#[test]
fn names_are_taken_once_and_images_must_be_there() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_container(&container("a", "one")).unwrap();
    assert!(matches!(db.add_container(&container("b", "one")), Err(Error::NameTaken(name)) if name == "one"));
    let stranger = ContainerRow { image: Digest::of(b"gone"), ..container("c", "two") };
    assert!(matches!(db.add_container(&stranger), Err(Error::NotFound { what: "image", .. })));
}

#[test]
fn a_containers_life_is_recorded() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_sandbox(&sandbox("s"), None).unwrap();
    db.add_container(&container("a", "one")).unwrap();
    db.update_container("a", ContainerState::Running, Some("s"), None).unwrap();
    assert_eq!(db.containers_of_sandbox("s").unwrap().len(), 1);
    assert!(db.remove_sandbox("s").is_err(), "a container is in it");
    db.update_container("a", ContainerState::Exited, None, Some(137)).unwrap();
    db.detach_container("a").unwrap();
    db.remove_sandbox("s").unwrap();
    let row = db.container("a").unwrap();
    assert_eq!((row.state, row.exit_code, row.sandbox), (ContainerState::Exited, Some(137), None));
    assert!(db.update_container("x", ContainerState::Exited, None, None).is_err());
}

#[test]
fn a_container_that_ends_while_it_is_removed_stays_in_removal() {
    let (_folder, store) = store();
    let db = store.db();
    let row = ContainerRow { sandbox: Some("s".to_owned()), ..container("a", "one") };
    db.add_sandbox_with_container(&sandbox("s"), None, &row).unwrap();
    db.update_container("a", ContainerState::Removing, None, None).unwrap();
    db.end_container("a", Some(137)).unwrap();
    let row = db.container("a").unwrap();
    assert_eq!((row.state, row.exit_code, row.sandbox), (ContainerState::Removing, Some(137), None));
    assert!(db.sandboxes().unwrap().is_empty());
}
