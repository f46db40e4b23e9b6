use super::*;
use crate::store::db::images::tests::{container, image, store};
use crate::store::{Change, ContainerState};

fn ended() -> Change {
    Change::Exited { exit_code: 0, oom_killed: false, error: String::new() }
}

fn words(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_last_name_takes_the_image_with_it() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_images(&[image("a", &["l"], &["x:1", "y:1"])]).unwrap();
    let first = db.remove_image_name("x:1", false).unwrap().unwrap();
    assert_eq!(first, Removed { untagged: words(&["x:1"]), ..Removed::default() });
    let second = db.remove_image_name("y:1", false).unwrap().unwrap();
    assert_eq!((second.deleted, second.layers), (Some(Digest::of(b"a")), vec![Digest::of(b"l")]));
    assert!(db.images().unwrap().is_empty());
    assert!(matches!(db.remove_image_name("y:1", false), Err(Error::NotFound { .. })));
}

#[test]
fn a_repositorys_last_tag_takes_its_digests_along() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_images(&[image("a", &[], &["h:1/x:1", "h:1/x:2", "h:1/x@sha256:00", "h:1/xx@sha256:00"])])
        .unwrap();
    let untagged = |name| db.remove_image_name(name, false).unwrap().unwrap().untagged;
    assert_eq!(untagged("h:1/x:2"), ["h:1/x:2"]);
    assert_eq!(untagged("h:1/x:1"), ["h:1/x:1", "h:1/x@sha256:00"]);
    let last = db.remove_image_name("h:1/xx@sha256:00", false).unwrap().unwrap();
    assert!(last.deleted.is_some());
}

#[test]
fn several_names_need_force() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_images(&[
        image("a", &[], &["host:5000/x:1", "host:5000/x@sha256:00"]),
        image("b", &[], &["y:1", "z:1"]),
        image("c", &[], &["w:1", "w:2"]),
    ])
    .unwrap();
    assert!(
        db.remove_image(&Digest::of(b"a"), false).unwrap().is_ok(),
        "one tag and its digest are one name"
    );
    for id in [Digest::of(b"b"), Digest::of(b"c")] {
        assert_eq!(db.remove_image(&id, false).unwrap(), Err(Refusal::SeveralNames { image: id }));
        assert!(db.remove_image(&id, true).unwrap().is_ok());
    }
}

#[test]
fn containers_keep_their_image_and_force_only_hides_it() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_images(&[image("a", &["l"], &["x:1"])]).unwrap();
    db.add_container(&container("c", "a", ContainerState::Running)).unwrap();
    let (image, id) = (Digest::of(b"a"), Digest::of(b"c").hex());
    let running = Refusal::Running { image, container: id.clone() };
    assert_eq!(db.remove_image(&image, true).unwrap(), Err(running.clone()));
    db.change(&id, &Change::Paused).unwrap();
    assert_eq!(db.remove_image(&image, true).unwrap(), Err(running), "still alive");
    db.change(&id, &ended()).unwrap();
    let last_name = Refusal::LastName { image, container: id.clone() };
    assert_eq!(db.remove_image_name("x:1", false).unwrap(), Err(last_name));
    let stopped = Refusal::Stopped { image, container: id.clone() };
    assert_eq!(db.remove_image(&image, false).unwrap(), Err(stopped));
    let removed = db.remove_image_name("x:1", true).unwrap().unwrap();
    assert_eq!((removed.deleted, removed.layers), (Some(image), vec![]), "its layers are needed");

    assert!(db.images().unwrap().is_empty());
    assert!(db.collect().unwrap().layers.contains(&Digest::of(b"l")), "the container's layers stay");
    assert!(db.add_container(&container("d", "a", ContainerState::Created)).is_err());
    assert!(!db.is_forsaken(&image).unwrap());
    db.conclude(&id, None, true, None).unwrap();
    assert!(db.is_forsaken(&image).unwrap());
    let live = db.collect().unwrap();
    assert!(live.layers.is_empty() && live.blobs.is_empty() && live.chains.is_empty());
}

#[test]
fn by_force_a_running_containers_image_loses_its_name_and_stays() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_images(&[image("a", &["l"], &["x:1"])]).unwrap();
    db.add_container(&container("c", "a", ContainerState::Running)).unwrap();
    let removed = db.remove_image_name("x:1", true).unwrap().unwrap();
    assert_eq!(removed, Removed { untagged: words(&["x:1"]), ..Removed::default() });
    assert!(db.image(&Digest::of(b"a")).unwrap().unwrap().names.is_empty());
}

#[test]
fn chains_that_another_image_begins_with_are_not_released() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_images(&[
        image("a", &["base", "mid", "top"], &["a:1"]),
        image("b", &["base", "mid"], &["b:1"]),
        // The same layers in another order are other chains.
        image("c", &["mid", "top"], &["c:1"]),
    ])
    .unwrap();
    let layers = |name| db.remove_image_name(name, false).unwrap().unwrap().layers;
    let chain =
        |names: &[&str]| chain_id(&names.iter().map(|name| Digest::of(name.as_bytes())).collect::<Vec<_>>());
    assert_eq!(layers("a:1"), [chain(&["base", "mid", "top"])]);
    assert_eq!(layers("b:1"), [chain(&["base", "mid"]), chain(&["base"])]);
    assert_eq!(layers("c:1"), [chain(&["mid", "top"]), chain(&["mid"])]);
}

#[test]
fn repositories_are_told_from_ports_tags_and_digests() {
    assert_eq!(repository_of("host:5000/x:1"), "host:5000/x");
    assert_eq!(repository_of("host:5000/x"), "host:5000/x");
    assert_eq!(repository_of("x/y@sha256:00"), "x/y");
}

#[test]
fn an_image_that_was_named_meanwhile_is_not_pruned() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_images(&[image("a", &[], &["h:1/x@sha256:00"])]).unwrap();
    db.tag(&Digest::of(b"a"), "h:1/x:1").unwrap();
    assert_eq!(db.remove_unused_image(&Digest::of(b"a"), false).unwrap(), None);
    assert!(db.remove_unused_image(&Digest::of(b"a"), true).unwrap().is_some());
}
