use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::super::catalog::{Wanted, ensure};
use super::super::patience::CallOff;
use super::*;
use crate::sandbox::mode::Isolation;
use crate::store::PodRow;

/// A store with the volume "web", which "one" has mounted; what it shows.
fn fixture() -> (tempfile::TempDir, Store, VolumeRow, std::path::PathBuf) {
    let (folder, store) = Store::temporary();
    let row = ensure(&store, Wanted { name: Some("web".into()), ..Wanted::default() }).unwrap();
    mount(&store, &row, "one");
    let data = Folder::of(&store, "web").data();
    (folder, store, row, data)
}

fn mount(store: &Store, row: &VolumeRow, sandbox: &str) {
    let mounted = driver::mount(store, &row.name, sandbox, Isolation::Namespace, Patience::COMMAND).unwrap();
    assert_eq!(mounted, driver::Mounted::Folder(Folder::of(store, "web").data()));
}

#[test]
fn an_empty_volume_is_filled_once() {
    let (_folder, store, row, data) = fixture();
    let population = begin(&store, &row, Patience::COMMAND).unwrap().unwrap();
    fs::write(data.join("file"), "of the image").unwrap();
    population.finish().unwrap();
    assert!(begin(&store, &row, Patience::COMMAND).unwrap().is_none());
    assert!(!Folder::of(&store, "web").copying().exists());
}

#[test]
fn an_image_that_has_nothing_leaves_the_volume_to_the_next() {
    let (_folder, store, row, _) = fixture();
    begin(&store, &row, Patience::COMMAND).unwrap().unwrap().finish().unwrap();
    assert!(begin(&store, &row, Patience::COMMAND).unwrap().is_some());
}

#[test]
fn a_copy_that_was_cut_short_is_begun_again_from_nothing() {
    let (outside, store, row, data) = fixture();
    drop(begin(&store, &row, Patience::COMMAND).unwrap().unwrap());
    fs::create_dir(data.join("half")).unwrap();
    symlink(outside.path(), data.join("half/out")).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let population = begin(&store, &row, Patience::COMMAND).unwrap().unwrap();
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    assert_eq!(data.metadata().unwrap().mode() & 0o777, 0o755);
    assert!(outside.path().join("lib").exists());
    population.finish().unwrap();
}

#[test]
fn whoever_mounts_a_volume_next_finds_no_half_of_a_copy() {
    let (_folder, store, row, data) = fixture();
    drop(begin(&store, &row, Patience::COMMAND).unwrap().unwrap());
    fs::write(data.join("half"), "x").unwrap();
    driver::unmount_all(&store, "one").unwrap();
    mount(&store, &row, "two");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    fs::write(data.join("own"), "of the second").unwrap();
    driver::unmount_all(&store, "two").unwrap();
    mount(&store, &row, "three");
    assert!(begin(&store, &row, Patience::COMMAND).unwrap().is_none());
    assert!(data.join("own").exists());
}

#[test]
fn nothing_is_cleared_where_others_had_the_volume_before_the_copy() {
    let (_folder, store, row, data) = fixture();
    mount(&store, &row, "two");
    drop(begin(&store, &row, Patience::COMMAND).unwrap().unwrap());
    fs::write(data.join("own"), "of the first").unwrap();
    driver::unmount_all(&store, "two").unwrap();
    mount(&store, &row, "three");
    assert!(begin(&store, &row, Patience::COMMAND).unwrap().is_none());
    assert!(data.join("own").exists());
}

#[test]
fn nothing_is_cleared_in_a_pod_whose_other_containers_may_write() {
    let (_folder, store, row, data) = fixture();
    driver::unmount_all(&store, "one").unwrap();
    let pod = PodRow {
        id: "pod".into(),
        name: "p".into(),
        mode: Isolation::Namespace,
        created: 1,
        config: "{}".into(),
    };
    store.db().add_pod(&pod).unwrap();
    mount(&store, &row, "pod");
    drop(begin(&store, &row, Patience::COMMAND).unwrap().unwrap());
    fs::write(data.join("own"), "of another container of the pod").unwrap();
    assert!(begin(&store, &row, Patience::COMMAND).unwrap().is_none());
    mount(&store, &row, "two");
    assert!(data.join("own").exists());
}

#[test]
fn nobody_begins_to_fill_a_volume_before_whoever_mounts_it_is_known() {
    let (_folder, store, row, _) = fixture();
    let folder = Folder::of(&store, "web");
    let settled = settle(&folder, &row).unwrap();
    assert!(settled.is_some());
    assert!(FileLock::attempt(&folder.lock(), FlockArg::LockExclusiveNonblock).unwrap().is_none());
    drop(settled);
    assert!(begin(&store, &row, Patience::COMMAND).unwrap().is_some());
}

#[test]
fn a_container_waits_for_the_copy_of_another_of_its_sandbox_until_it_is_called_off() {
    let (_folder, store, row, data) = fixture();
    let held = begin(&store, &row, Patience::COMMAND).unwrap().unwrap();
    // It has the volume already; that is not waited for.
    mount(&store, &row, "one");
    let (unwanted, wanted) = (CallOff::default(), CallOff::default());
    std::thread::scope(|scope| {
        let starts = [&unwanted, &wanted].map(|start| {
            let begun = || begin(&store, &row, Patience::UntilOff(start)).map(|begun| begun.is_some());
            scope.spawn(begun)
        });
        unwanted.call_off();
        let [unwanted, wanted] = starts;
        assert!(matches!(unwanted.join().unwrap(), Err(VolumeError::CalledOff { .. })));
        assert!(!wanted.is_finished());
        fs::write(data.join("file"), "of the image").unwrap();
        held.finish().unwrap();
        assert!(!wanted.join().unwrap().unwrap(), "it has been filled");
    });
}

#[test]
fn whoever_waits_for_a_copy_keeps_nobody_from_the_volume() {
    let (_folder, store, row, _) = fixture();
    let held = begin(&store, &row, Patience::COMMAND).unwrap().unwrap();
    let start = CallOff::default();
    std::thread::scope(|scope| {
        let second = || driver::mount(&store, "web", "two", Isolation::Namespace, Patience::UntilOff(&start));
        let second = scope.spawn(second);
        for _ in 0..10 {
            drop(super::super::folder::lock(&store, "web", Patience::COMMAND).unwrap());
        }
        assert!(!second.is_finished());
        start.call_off();
        assert!(matches!(second.join().unwrap(), Err(VolumeError::CalledOff { .. })));
    });
    assert_eq!(store.db().mounts_of("web").unwrap(), ["one"]);
    drop(held);
}

#[test]
fn another_sandbox_waits_until_the_copy_is_done() {
    let (_folder, store, row, data) = fixture();
    let held = begin(&store, &row, Patience::COMMAND).unwrap().unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            mount(&store, &row, "two");
            assert!(data.join("file").exists());
        });
        fs::write(data.join("file"), "of the image").unwrap();
        held.finish().unwrap();
        second.join().unwrap();
    });
}
