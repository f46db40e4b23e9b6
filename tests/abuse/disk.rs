//! A store that cannot be written: no space, no right to. And rows of another time.

use std::fs;
use std::path::Path;

use hull_engine::store::{self, ContainerRow, ContainerState};
use nix::mount::{MsFlags, mount, umount};

use hull_tests::{BUSYBOX, Background, Isolation, Store, Traces};

/// A small file system in memory under a store.
struct Small(Store);

impl Small {
    fn new() -> Small {
        let store = Store::new();
        fs::create_dir_all(&store.root).unwrap();
        // Large while an image is loaded: that keeps some of the disk free.
        remount(&store.root, MsFlags::empty(), "size=8g");
        store.load(&hull_tests::paths::image("busybox.tar")).exits(0);
        remount(&store.root, MsFlags::MS_REMOUNT, "size=24m");
        Small(store)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        umount(&self.0.root).unwrap();
    }
}

fn remount(root: &Path, flags: MsFlags, options: &str) {
    mount(Some("hull-small"), root, Some("tmpfs"), flags, Some(options)).unwrap();
}

#[test]
fn full_disk_is_told_and_leaves_no_half_of_anything() {
    // A machine's disks are files of their own, of which the guest sees the errors.
    if hull_tests::isolation() == Isolation::Vm {
        return;
    }
    let small = Small::new();
    let store = &small.0;
    let mut traces = Traces::follow(&store.root, &store.run);
    let bystander = Background::run_in(store, [BUSYBOX, "sleep", "1000"]);
    let filler = store.root.join("filler");
    // To the last page.
    let _ = fs::write(&filler, vec![0u8; 32 << 20]);
    for args in [["run", "--rm"].as_slice(), &["run", "-d"], &["create"]] {
        let output = store.hull(args).args(["--isolation", "namespace", BUSYBOX, "true"]).output();
        assert_ne!(output.code, 0, "{}", output.report("a full disk goes unnoticed"));
        let line = output.stderr.trim_end();
        let told = line.starts_with("hull: ") && (line.contains("space") || line.contains("full"));
        assert!(told, "{}", output.report("the reason is not told"));
    }
    store.hull(["ps"]).output().exits(0);
    assert_eq!(bystander.row().unwrap().state, ContainerState::Running);
    fs::remove_file(&filler).unwrap();
    assert_eq!(store.run([BUSYBOX, "echo", "fine"]).output().text(), "fine");
    bystander.hull(["rm", "-f"]).exits(0);
    store.hull(["ps", "-a"]).output().exits(0);
    let rest = store.hull(["ps", "-aq"]).output().text();
    assert_eq!(rest, "", "half a container");
    let mut left = traces.left();
    left.retain(|trace| !trace.contains("hull-small"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn database_that_is_read_only_is_told_and_what_runs_goes_on() {
    let store = Store::with_busybox();
    let bystander = Background::run_in(&store, [BUSYBOX, "sleep", "1000"]);
    let agent = bystander.agent();
    let database = store.root.join("hull.db");
    let bind =
        |flags| mount(Some(&database), &database, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>);
    bind(MsFlags::empty()).unwrap();
    bind(MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY).unwrap();
    let mode = ["--isolation", hull_tests::isolation().word()];
    let outputs = [
        store.hull(["create"]).args(mode).args([BUSYBOX, "true"]).output(),
        bystander.command(["rm", "-f"]).output(),
    ];
    umount(&database).unwrap();
    for output in outputs {
        let line = output.fails(1);
        assert!(line.to_lowercase().contains("read") && line.contains("hull.db"), "{line}");
    }
    assert_eq!(bystander.agent(), agent);
    assert_eq!(bystander.row().unwrap().state, ContainerState::Running);
    assert_eq!(store.run([BUSYBOX, "echo", "fine"]).output().text(), "fine");
    bystander.hull(["stop", "-t", "0"]).exits(0);
    bystander.expect_exit(137);
}

#[test]
fn rows_of_the_future_are_listed_and_removed() {
    const DAY: i64 = 86_400 * 1_000_000_000;
    let store = Store::with_busybox();
    let now = Background::run_in(&store, [BUSYBOX, "true"]);
    now.hull(["wait"]).exits(0);
    let opened = store::Store::open(&store.root, &store.run).unwrap();
    let row = now.row().unwrap();
    let later = ContainerRow {
        id: "f".repeat(64),
        name: "later".to_owned(),
        created: row.created + DAY,
        started: row.started + DAY,
        finished: row.finished + DAY,
        ..row
    };
    fs::create_dir(store.root.join("containers").join(&later.id)).unwrap();
    opened.db().add_container(&later).unwrap();
    let table = store.hull(["ps", "-a"]).output().text();
    assert!(table.contains("later") && table.contains(&now.name), "{table}");
    store.hull(["start", "-a", "later"]).output().exits(0);
    assert_eq!(store.hull(["wait", "later"]).output().text(), "0");
    assert_eq!(store.hull(["rm", "later"]).output().text(), "later");
}
