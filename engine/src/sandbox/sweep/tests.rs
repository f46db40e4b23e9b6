use super::*;
use crate::container::remove::tests::Fixture;
use crate::image::digest::Digest;
use crate::sandbox::mode::Isolation;
use crate::store::{Change, With};
use crate::volume::catalog::{self, Wanted};

#[test]
fn the_dead_are_ended_as_if_killed_and_the_living_left_alone() {
    let fixture = Fixture::new();
    for (id, remove) in [("alive", true), ("dead", false), ("dead with --rm", true)] {
        fixture.running(id, remove);
    }
    let _alive = SandboxLock::attempt(&fixture.store.paths().sandbox("alive")).unwrap().unwrap();
    dead(&fixture.context, &fixture.store);
    assert_eq!(fixture.state("alive"), Some(ContainerState::Running));
    assert_eq!(fixture.store.db().container("dead").unwrap().exit_code, 137);
    assert_eq!(fixture.state("dead with --rm"), None);
    assert_eq!(fixture.folders("dead with --rm"), 0);
}

#[test]
fn what_never_ran_goes_with_its_sandbox_only_if_it_was_made_for_it() {
    let fixture = Fixture::new();
    fixture.starting("run", true);
    fixture.starting("exported", false);
    dead(&fixture.context, &fixture.store);
    assert_eq!(fixture.state("run"), None);
    let row = fixture.store.db().container("exported").unwrap();
    assert_eq!((row.state, row.sandbox), (ContainerState::Created, None));
    assert!(fixture.store.paths().container("exported").exists());
}

#[test]
fn a_sandbox_whose_folder_is_gone_is_dead() {
    let fixture = Fixture::new();
    fixture.running("a", true);
    fs::remove_dir_all(fixture.store.paths().sandbox("a")).unwrap();
    dead(&fixture.context, &fixture.store);
    assert_eq!((fixture.folders("a"), fixture.state("a")), (0, None));
}

#[test]
fn a_lock_that_cannot_be_tried_says_nothing() {
    let fixture = Fixture::new();
    fixture.running("a", false);
    fixture.breaking(|| drop(dead(&fixture.context, &fixture.store)));
    assert_eq!(fixture.state("a"), Some(ContainerState::Running));
}

#[test]
fn removals_that_were_cut_short_go_on() {
    let fixture = Fixture::new();
    fixture.exited("ended");
    fixture.running("killed", false);
    for id in ["ended", "killed"] {
        fixture.store.db().change(id, &Change::Removing).unwrap();
    }
    dead(&fixture.context, &fixture.store);
    assert_eq!((fixture.folders("killed"), fixture.state("killed")), (0, None));
    orphans(&fixture.store);
    assert_eq!((fixture.folders("ended"), fixture.state("ended")), (0, None));
}

#[test]
fn folders_without_a_row_go() {
    let fixture = Fixture::new();
    fixture.running("known", false);
    let paths = fixture.store.paths();
    for orphan in [paths.sandbox("orphan"), paths.run_sandbox("orphan")] {
        fs::create_dir_all(orphan.join("upper/nested")).unwrap();
    }
    orphans(&fixture.store);
    assert_eq!((fixture.folders("orphan"), fixture.folders("known")), (0, 3));
}

#[test]
fn volumes_go_whose_container_was_to_be_removed_with_them_and_never_came_or_is_gone() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    fixture.running("alive", true);
    let of = |container: Option<&str>| {
        let goes_with = container.map(str::to_owned);
        catalog::ensure(store, Wanted { goes_with, ..Wanted::default() }).unwrap().name
    };
    let (gone, of_alive, nobody_s) = (of(Some("gone")), of(Some("alive")), of(None));
    let used = of(Some("gone"));
    let row = ContainerRow::new("user", "user", Digest::of(b"image"), Isolation::Namespace, "{}".into());
    store.db().add_container_with(&row, With { volumes: &[&used], ..With::default() }).unwrap();
    {
        let _somebody = Creating::begin(store).unwrap();
        orphans(store);
        assert!(store.db().volume(&gone).is_ok(), "it may be whose container is being made");
    }
    orphans(store);
    assert!(store.db().volume(&gone).is_err());
    for name in [&of_alive, &nobody_s, &used] {
        assert!(store.db().volume(name).is_ok());
    }
    // By now it is another container's, and stays when that goes without it.
    store.db().conclude("user", None, true, None).unwrap();
    orphans(store);
    assert!(store.db().volume(&used).is_ok());
}
