use std::collections::BTreeMap;
use std::fs;

use nix::mount::{MsFlags, mount as mount_at};
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::format::filter::Filters;
use crate::volume::catalog::{Wanted, ensure, remove, sweep};
use crate::volume::prune::prune;

const NONE: Option<&str> = None;

/// Mounts of this thread alone. False: this process makes none, and the test has nothing to see.
fn own_mounts() -> bool {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    unshare(CloneFlags::CLONE_NEWNS).and_then(|()| mount_at(NONE, "/", NONE, private, NONE)).is_ok()
}

fn volume(store: &Store, name: &str, pairs: &[(&str, &str)]) -> VolumeRow {
    let options: BTreeMap<_, _> =
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    ensure(store, Wanted { name: Some(name.into()), options, ..Wanted::default() }).unwrap()
}

fn on_host(store: &Store, row: &VolumeRow, sandbox: &str) -> Result<Mounted, VolumeError> {
    mount(store, &row.name, sandbox, Isolation::Namespace, Patience::COMMAND)
}

#[test]
fn memory_is_mounted_with_the_first_sandbox_and_gone_with_the_last() {
    let (_folder, store) = Store::temporary();
    if !own_mounts() {
        return;
    }
    let row = volume(&store, "mem", &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,mode=700")]);
    let data = Folder::of(&store, "mem").data();
    for sandbox in ["one", "two", "one"] {
        assert_eq!(on_host(&store, &row, sandbox).unwrap(), Mounted::Folder(data.clone()));
    }
    assert_eq!(mounts::below(&data).unwrap().len(), 1);
    fs::write(data.join("file"), "x").unwrap();
    assert!(fs::write(data.join("large"), vec![0; 2 << 20]).is_err(), "its size is asked for");
    unmount_all(&store, "one").unwrap();
    assert!(data.join("file").exists());
    assert!(matches!(remove(&store, "mem", true), Err(VolumeError::Store(_))));
    // "two" was killed.
    sweep(&store);
    assert!(!mounts::is_mounted(&data).unwrap() && !data.join("file").exists());
    remove(&store, "mem", false).unwrap();
}

#[test]
fn a_folder_is_bound_with_its_flags_and_survives_its_volume() {
    let (outside, store) = Store::temporary();
    if !own_mounts() {
        return;
    }
    let device = outside.path().join("shared");
    fs::create_dir(&device).unwrap();
    fs::write(device.join("kept"), "x").unwrap();
    let row =
        volume(&store, "bound", &[("type", "none"), ("device", device.to_str().unwrap()), ("o", "bind,ro")]);
    let Mounted::Folder(shown) = on_host(&store, &row, "one").unwrap() else { panic!("no folder") };
    assert!(shown.join("kept").exists());
    assert!(fs::write(shown.join("new"), "x").is_err(), "read-only");
    unmount_all(&store, "one").unwrap();
    // Mounted by somebody else, or left by a machine that lost its rows.
    mount_at(Some(&device), &shown, NONE, MsFlags::MS_BIND, NONE).unwrap();
    remove(&store, "bound", false).unwrap();
    assert!(device.join("kept").exists());
}

#[test]
fn what_is_mounted_in_a_volume_keeps_it_from_being_removed() {
    let (outside, store) = Store::temporary();
    if !own_mounts() {
        return;
    }
    volume(&store, "web", &[]);
    let inner = Folder::of(&store, "web").data().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(outside.path().join("kept"), "x").unwrap();
    mount_at(Some(outside.path()), &inner, NONE, MsFlags::MS_BIND, NONE).unwrap();
    let error = remove(&store, "web", true).unwrap_err();
    assert!(matches!(error, VolumeError::MountedBelow { .. }), "{error}");
    assert!(outside.path().join("kept").exists() && store.db().volume("web").is_ok());
    volume(&store, "zoo", &[]);
    assert_eq!(prune(&store, true, &Filters::default()).unwrap().names, ["zoo"], "others go");
    mounts::unmount(&inner).unwrap();
    remove(&store, "web", false).unwrap();
}

#[test]
fn what_cannot_be_mounted_is_told_in_docker_s_words_and_leaves_nothing() {
    let (_folder, store) = Store::temporary();
    if !own_mounts() {
        return;
    }
    let row = volume(&store, "gone", &[("type", "none"), ("device", "/no/such"), ("o", "bind")]);
    let place = Folder::of(&store, "gone").data().display().to_string();
    assert_eq!(
        chain(&on_host(&store, &row, "one").unwrap_err()),
        format!(
            "error while mounting volume '{place}': failed to mount local volume: mount /no/such:{place}, flags: \
             0x1000: ENOENT: No such file or directory"
        )
    );
    assert!(store.db().mounts_of("gone").unwrap().is_empty());
    let row = volume(&store, "odd", &[("type", "no-such-fs"), ("device", "x"), ("o", "a=1")]);
    let text = chain(&on_host(&store, &row, "one").unwrap_err());
    assert!(text.contains(", data: a=1: ENODEV"), "{text}");
}

#[test]
fn a_block_volume_is_a_folder_on_a_host_until_a_machine_has_written_to_it() {
    let (_folder, store) = Store::temporary();
    if !own_mounts() || !std::path::Path::new("/dev/loop-control").exists() {
        return;
    }
    let row = volume(&store, "db", &[("kind", "block"), ("size", "64m")]);
    let folder = Folder::of(&store, "db");
    let Mounted::Folder(shown) = on_host(&store, &row, "one").unwrap() else { panic!("no folder") };
    assert_eq!(shown, folder.mounted_disk().join("data"));
    fs::write(shown.join("file"), "x").unwrap();
    assert!(matches!(on_host(&store, &row, "two"), Err(VolumeError::Store(_))));
    unmount_all(&store, "one").unwrap();
    assert!(!shown.exists());
    let population = || {
        let row = store.db().volume("db").unwrap();
        on_host(&store, &row, "two").unwrap();
        let begun = populate::begin(&store, &row, Patience::COMMAND).unwrap();
        unmount_all(&store, "two").unwrap();
        begun.is_some()
    };
    assert!(!population(), "it has a file");
    let mounted = mount(&store, "db", "machine", Isolation::Vm, Patience::COMMAND).unwrap();
    assert_eq!(mounted, Mounted::Disk(folder.disk()));
    let held = block::open(&block::path(&store, "db")).unwrap();
    assert!(matches!(block::open(&folder.disk()), Err(block::BlockError::InUse(_))));
    drop(held);
    block::open(&folder.disk()).unwrap();
    unmount_all(&store, "machine").unwrap();
    let text = on_host(&store, &row, "one").unwrap_err().to_string();
    assert!(text.contains("a virtual machine has written to"), "{text}");
    assert!(store.db().mounts_of("db").unwrap().is_empty());
    mount(&store, "db", "machine", Isolation::Vm, Patience::COMMAND).unwrap();
}

#[test]
fn a_disk_is_locked_as_long_as_its_file_is_open_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::write(&disk, "").unwrap();
    let held = block::open(&disk).unwrap();
    let copy = held.try_clone().unwrap();
    drop(held);
    assert!(matches!(block::open(&disk), Err(block::BlockError::InUse(_))));
    drop(copy);
    drop(block::open(&disk).unwrap());
    block::open(&disk).unwrap();
}

#[test]
fn a_copy_into_a_disk_that_was_cut_short_is_begun_again_on_a_new_one() {
    let (_folder, store) = Store::temporary();
    if !own_mounts() || !std::path::Path::new("/dev/loop-control").exists() {
        return;
    }
    let row = volume(&store, "db", &[("kind", "block"), ("size", "64m")]);
    let Mounted::Folder(shown) = on_host(&store, &row, "one").unwrap() else { panic!("no folder") };
    drop(populate::begin(&store, &row, Patience::COMMAND).unwrap().unwrap());
    fs::write(shown.join("half"), "x").unwrap();
    unmount_all(&store, "one").unwrap();
    on_host(&store, &row, "two").unwrap();
    assert_eq!(fs::read_dir(&shown).unwrap().count(), 0);
    populate::begin(&store, &row, Patience::COMMAND).unwrap().unwrap().finish().unwrap();
    unmount_all(&store, "two").unwrap();
}

#[test]
fn a_disk_that_is_still_mounted_elsewhere_is_not_mounted_beside_that() {
    let (_folder, store) = Store::temporary();
    if !own_mounts() || !std::path::Path::new("/dev/loop-control").exists() {
        return;
    }
    let row = volume(&store, "db", &[("kind", "block"), ("size", "64m")]);
    let Mounted::Folder(shown) = on_host(&store, &row, "one").unwrap() else { panic!("no folder") };
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    let (ready, begun) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        // A container that came up meanwhile has a copy of all mounts.
        scope.spawn(move || {
            ready.send(own_mounts()).unwrap();
            let _ = waiting.recv();
        });
        assert!(begun.recv().unwrap());
        fs::write(shown.join("file"), "written last").unwrap();
        unmount_all(&store, "one").unwrap();
        let device = block::open(&folder::Folder::of(&store, "db").disk());
        assert!(matches!(device, Err(block::BlockError::InUse(_))), "no machine gets it meanwhile");
        on_host(&store, &row, "two").unwrap();
        assert_eq!(fs::read_to_string(shown.join("file")).unwrap(), "written last");
        fs::write(shown.join("file"), "by the other").unwrap();
        drop(done);
    });
    unmount_all(&store, "two").unwrap();
    on_host(&store, &row, "three").unwrap();
    assert_eq!(fs::read_to_string(shown.join("file")).unwrap(), "by the other");
    unmount_all(&store, "three").unwrap();
}
