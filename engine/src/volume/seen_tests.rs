use super::*;
use crate::sandbox::mode::Isolation;
use crate::volume::catalog::{Wanted, ensure, remove, sweep};
use crate::volume::driver::plugin::tests::Machine;
use crate::volume::driver::plugin::tests::server::Answer;
use crate::volume::driver::{self, Mounted};
use crate::volume::patience::{CallOff, Patience};

fn wanted(name: &str, driver: Option<&str>) -> Wanted {
    Wanted { name: Some(name.into()), driver: driver.map(Into::into), ..Wanted::default() }
}

fn names(store: &Store, words: &[&str]) -> Vec<String> {
    let (seen, _) = list(store, &Filters::parse(words, &FILTERS).unwrap()).unwrap();
    seen.into_iter().map(|seen| seen.row.name).collect()
}

#[test]
fn volumes_are_listed_by_name_with_docker_s_filters() {
    let (_folder, store) = Store::temporary();
    let labels = [("x".to_owned(), "1".to_owned())].into();
    ensure(&store, Wanted { labels, ..wanted("web", None) }).unwrap();
    ensure(&store, wanted("db", None)).unwrap();
    assert_eq!(names(&store, &[]), ["db", "web"]);
    assert_eq!(names(&store, &["name=w"]), ["web"]);
    assert_eq!(names(&store, &["label=x"]), ["web"]);
    assert_eq!(names(&store, &["label=x=1", "driver=local"]), ["web"]);
    assert_eq!(names(&store, &["dangling=true"]), ["db", "web"]);
    assert!(names(&store, &["dangling=false"]).is_empty() && names(&store, &["driver=loc"]).is_empty());
    assert!(list(&store, &Filters::parse(&["dangling=x"], &FILTERS).unwrap()).is_err());
    let seen = find(&store, "db").unwrap().description();
    assert_eq!(seen["Mountpoint"], store.paths().volume("db").join("_data").to_str().unwrap());
    assert!(seen["Labels"].is_null() && seen["Options"].is_null() && seen.get("Status").is_none());
    assert!(
        find(&store, "d").unwrap_err().is_not_found() && find(&store, "../db").unwrap_err().is_not_found()
    );
}

#[test]
fn volumes_that_only_a_plugin_knows_are_seen_used_and_removed() {
    let machine = Machine::new();
    let (_folder, store) = Store::temporary();
    machine.shelf.add("theirs");
    ensure(&store, wanted("ours", Some("shelf"))).unwrap();
    ensure(&store, wanted("plain", Some("local"))).unwrap();
    assert_eq!(names(&store, &[]), ["ours", "plain", "theirs"]);
    assert_eq!(names(&store, &["driver=shelf"]), ["ours", "theirs"]);
    let seen = find(&store, "theirs").unwrap().description();
    assert_eq!((seen["Driver"].as_str(), seen["Scope"].as_str()), (Some("shelf"), Some("global")));
    assert_eq!(seen["Status"]["of"], "test");
    assert!(store.db().volume("theirs").is_err(), "looking makes no row");
    assert_eq!(ensure(&store, wanted("theirs", None)).unwrap().driver, "shelf");
    assert!(!machine.shelf.calls().contains(&"Create theirs".to_owned()));
    machine.shelf.add("forgotten");
    for name in ["theirs", "ours", "forgotten"] {
        remove(&store, name, false).unwrap();
    }
    assert!(machine.shelf.volumes().is_empty());
    assert_eq!(names(&store, &[]), ["plain"]);
}

#[test]
fn a_plugin_mounts_for_each_sandbox_and_hears_of_those_that_were_killed() {
    let machine = Machine::new();
    let (_folder, store) = Store::temporary();
    let row = ensure(&store, wanted("ours", Some("shelf"))).unwrap();
    for sandbox in ["one", "two", "one"] {
        let mounted = driver::mount(&store, &row.name, sandbox, Isolation::Vm, Patience::COMMAND).unwrap();
        assert_eq!(mounted, Mounted::Folder(machine.shelf.path("ours")));
    }
    assert_eq!(machine.shelf.mounts("ours"), ["one", "two"]);
    driver::unmount_all(&store, "one").unwrap();
    assert_eq!(machine.shelf.mounts("ours"), ["two"]);
    sweep(&store);
    assert!(machine.shelf.mounts("ours").is_empty() && store.db().mounts_of("ours").unwrap().is_empty());
}

#[test]
fn a_plugin_that_is_gone_is_asked_once_more_and_holds_nobody_up() {
    let machine = Machine::new();
    let (_folder, store) = Store::temporary();
    let row = ensure(&store, wanted("ours", Some("shelf"))).unwrap();
    driver::mount(&store, &row.name, "one", Isolation::Vm, Patience::COMMAND).unwrap();
    let Machine { root: _root, shelf } = machine;
    drop(shelf);
    assert!(driver::unmount_all(&store, "one").is_err());
    assert_eq!(store.db().mounts_of("ours").unwrap(), ["one"]);
    sweep(&store);
    assert!(store.db().mounts_of("ours").unwrap().is_empty());
    remove(&store, "ours", true).unwrap();
}

#[test]
fn a_plugin_that_refuses_leaves_no_volume_and_no_mount() {
    let machine = Machine::new();
    let (_folder, store) = Store::temporary();
    let refusal = || Answer::Json(serde_json::json!({"Err": "the shelf is full"}));
    machine.shelf.answer("VolumeDriver.Create", refusal());
    let error = ensure(&store, wanted("ours", Some("shelf"))).unwrap_err();
    assert_eq!(chain(&error), "create ours: VolumeDriver.Create: the shelf is full");
    assert!(store.db().volumes().unwrap().is_empty() && !store.paths().volume("ours").exists());
    machine.shelf.add("ours");
    let row = ensure(&store, wanted("ours", Some("shelf"))).unwrap();
    machine.shelf.answer("VolumeDriver.Mount", refusal());
    assert!(driver::mount(&store, &row.name, "one", Isolation::Vm, Patience::COMMAND).is_err());
    assert!(store.db().mounts_of("ours").unwrap().is_empty());
    machine.shelf.answer("VolumeDriver.Remove", refusal());
    assert!(remove(&store, "ours", false).is_err());
    assert!(store.db().volume("ours").is_ok() && store.paths().volume("ours").exists());
    remove(&store, "ours", true).unwrap();
    assert!(store.db().volume("ours").is_err() && !store.paths().volume("ours").exists());
}

#[test]
fn what_a_plugin_mounts_after_the_start_was_called_off_is_unmounted_again() {
    const CALL: &str = "VolumeDriver.Mount";
    let machine = Machine::new();
    let (_folder, store) = Store::temporary();
    ensure(&store, wanted("late", Some("shelf"))).unwrap();
    machine.shelf.hold(CALL);
    let start = CallOff::default();
    std::thread::scope(|scope| {
        let mounting = scope.spawn(|| {
            machine.enter();
            driver::mount(&store, "late", "one", Isolation::Namespace, Patience::UntilOff(&start))
        });
        machine.shelf.wait_for_held(1);
        start.call_off();
        let begin = std::time::Instant::now();
        driver::unmount_all(&store, "one").unwrap();
        sweep(&store);
        ensure(&store, wanted("late", None)).unwrap();
        assert!(remove(&store, "late", true).is_err(), "in use");
        assert!(begin.elapsed() < std::time::Duration::from_secs(5), "nobody waits for the plugin");
        machine.shelf.let_go();
        assert!(matches!(mounting.join().unwrap(), Err(VolumeError::CalledOff { .. })));
    });
    assert_eq!(machine.shelf.calls().iter().filter(|call| call.contains("ount late")).count(), 2);
    assert!(machine.shelf.mounts("late").is_empty() && store.db().mounts_of("late").unwrap().is_empty());
    remove(&store, "late", false).unwrap();
}
