use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

fn wanted(name: &str) -> Wanted {
    Wanted { name: Some(name.to_owned()), ..Wanted::default() }
}

fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn listed(store: &Store) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(store.paths().volumes())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_volume_is_made_once_and_shows_an_open_folder_in_a_private_one() {
    let (_folder, store) = Store::temporary();
    let first = ensure(&store, Wanted { labels: options(&[("a", "1")]), ..wanted("web") }).unwrap();
    assert_eq!((first.driver.as_str(), first.settings.anonymous), (LOCAL, false));
    let again = ensure(
        &store,
        Wanted { labels: options(&[("a", "2")]), driver: Some("local".into()), ..wanted("web") },
    );
    assert_eq!(again.unwrap(), first);
    let folder = Folder::of(&store, "web");
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    assert_eq!((mode(folder.path()), mode(&folder.data())), (0o700, 0o755));
    assert!(!folder.is_left_over());
    assert_eq!(fs::read_dir(store.paths().locks()).unwrap().count(), 0);
}

#[test]
fn a_volume_without_a_name_gets_one_and_docker_s_label() {
    let (_folder, store) = Store::temporary();
    let row = ensure(&store, Wanted::default()).unwrap();
    assert!(row.name.len() == 64 && row.name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(row.settings.anonymous);
    assert_eq!(row.settings.labels, options(&[(ANONYMOUS_LABEL, "")]));
    assert_ne!(ensure(&store, Wanted::default()).unwrap().name, row.name);
}

#[test]
fn names_are_docker_s() {
    let (_folder, store) = Store::temporary();
    for bad in ["", "a", "-a", ".a", "..", "a/b", "a b", "a\0b", "\u{e4}b", "../x", "a:b", &"a".repeat(256)] {
        assert!(ensure(&store, wanted(bad)).is_err(), "{bad}");
        assert!(remove(&store, bad, false).unwrap_err().is_not_found(), "{bad}");
        remove(&store, bad, true).unwrap();
    }
    assert!(listed(&store).is_empty());
    for good in ["a.", "A_-", "0x", &"a".repeat(255)] {
        ensure(&store, wanted(good)).unwrap();
        remove(&store, good, false).unwrap();
    }
    assert!(listed(&store).is_empty());
}

#[test]
fn another_driver_and_wrong_options_are_refused_and_leave_nothing() {
    let (_folder, store) = Store::temporary();
    ensure(&store, wanted("web")).unwrap();
    let error = ensure(&store, Wanted { driver: Some("other".into()), ..wanted("web") }).unwrap_err();
    assert!(matches!(error, VolumeError::Conflict { .. }), "{error}");
    for pairs in
        [&[("x", "1")][..], &[("type", "tmpfs")], &[("kind", "block"), ("size", "1k")], &[("kind", "x")]]
    {
        assert!(ensure(&store, Wanted { options: options(pairs), ..wanted("bad") }).is_err(), "{pairs:?}");
    }
    assert!(ensure(&store, Wanted { driver: Some("no-such-plugin".into()), ..wanted("bad") }).is_err());
    assert_eq!(listed(&store), ["web"]);
}

#[test]
fn a_block_volume_is_a_disk_of_the_size_that_is_asked_for() {
    let (_folder, store) = Store::temporary();
    let pairs = options(&[("kind", "block"), ("size", "100m")]);
    let row = ensure(&store, Wanted { options: pairs, ..wanted("db") }).unwrap();
    assert_eq!(row.settings.block_bytes, Some(100 << 20));
    assert_eq!(Folder::of(&store, "db").disk().metadata().unwrap().len(), 100 << 20);
    assert!(!row.settings.written_by_machine);
    let row = ensure(&store, Wanted { options: options(&[("kind", "block")]), ..wanted("big") }).unwrap();
    assert_eq!(row.settings.block_bytes, Some(10 << 30));
}

#[test]
fn removing_takes_the_data_along_and_follows_no_symlink() {
    let (outside, store) = Store::temporary();
    let kept = outside.path().join("kept");
    fs::write(&kept, "x").unwrap();
    ensure(&store, wanted("web")).unwrap();
    let data = Folder::of(&store, "web").data();
    fs::create_dir(data.join("in")).unwrap();
    symlink(outside.path(), data.join("in/out")).unwrap();
    remove(&store, "web", false).unwrap();
    assert!(listed(&store).is_empty() && kept.exists());
    assert!(remove(&store, "web", false).unwrap_err().is_not_found());
}

#[test]
fn what_is_in_use_stays_with_all_that_it_has() {
    let (_folder, store) = Store::temporary();
    ensure(&store, wanted("web")).unwrap();
    fs::write(Folder::of(&store, "web").data().join("file"), "x").unwrap();
    store.db().add_volume_mount("web", "sandbox", false).unwrap();
    let text = remove(&store, "web", true).unwrap_err().to_string();
    assert_eq!(text, "remove web: volume is in use - [sandbox]");
    assert!(Folder::of(&store, "web").data().join("file").exists());
    assert!(!Folder::of(&store, "web").is_left_over());
}

#[test]
fn only_volumes_made_for_a_container_go_with_it() {
    let (_folder, store) = Store::temporary();
    let anonymous = ensure(&store, Wanted::default()).unwrap().name;
    ensure(&store, wanted("named")).unwrap();
    remove_anonymous(&store, &[anonymous, "named".to_owned(), "gone".to_owned()]).unwrap();
    assert_eq!(listed(&store), ["named"]);
}

#[test]
fn a_sweep_removes_what_killed_makers_and_removers_left_and_nothing_else() {
    let (_folder, store) = Store::temporary();
    ensure(&store, wanted("whole")).unwrap();
    for name in ["making", "removed", "lost"] {
        let folder = Folder::of(&store, name);
        folder.make().unwrap();
        fs::create_dir(folder.data()).unwrap();
        if name != "making" {
            folder.made().unwrap();
        }
    }
    Folder::of(&store, "removed").remove().unwrap();
    fs::create_dir(store.paths().volume("unmarked")).unwrap();
    let busy = Folder::of(&store, "busy");
    busy.make().unwrap();
    let lock = folder::lock(&store, "busy", Patience::COMMAND).unwrap();
    // Whoever removed it was killed before its row went.
    Folder::of(&store, "whole").remove().unwrap();
    sweep(&store);
    assert_eq!(listed(&store), ["busy", "lost", "whole"]);
    drop(lock);
    sweep(&store);
    assert_eq!(listed(&store), ["lost", "whole"]);
    let found = ensure(&store, wanted("lost")).unwrap();
    assert!(Folder::of(&store, &found.name).data().exists());
}

#[test]
fn a_volume_that_lost_its_row_is_taken_over_with_what_it_holds() {
    let (_folder, store) = Store::temporary();
    for (name, pairs) in [("web", &[][..]), ("db", &[("kind", "block"), ("size", "64m")])] {
        let asked = || Wanted { options: options(pairs), ..wanted(name) };
        ensure(&store, asked()).unwrap();
        fs::write(Folder::of(&store, name).path().join("held"), "x").unwrap();
        store.db().remove_volume(name).unwrap();
        let row = ensure(&store, asked()).unwrap();
        assert!(Folder::of(&store, name).path().join("held").exists());
        assert_eq!(row.settings.written_by_machine, name == "db");
    }
}

#[test]
fn making_goes_on_where_a_killed_maker_stopped() {
    let (_folder, store) = Store::temporary();
    let folder = Folder::of(&store, "db");
    folder.make().unwrap();
    fs::write(folder.disk(), "half a disk").unwrap();
    let pairs = options(&[("kind", "block"), ("size", "64m")]);
    let row = ensure(&store, Wanted { options: pairs, ..wanted("db") }).unwrap();
    assert_eq!(folder.disk().metadata().unwrap().len(), 64 << 20);
    assert!(!row.settings.written_by_machine);
}
