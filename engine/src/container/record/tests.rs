use std::fs;
use std::os::unix::fs::symlink;
use std::thread;

use super::*;
use crate::image::digest::Digest;
use crate::store::db::images::NewImage;

/// A store with an image and rows of containers, whose folders are there and whose locks are free.
pub(crate) struct Fixture {
    _folder: tempfile::TempDir,
    pub store: Store,
}

impl Fixture {
    pub fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
        let image = Digest::of(b"image");
        let (created, layers, blobs, names) = (String::new(), Vec::new(), Vec::new(), Vec::new());
        let new =
            NewImage { id: image, manifest: image, chain: image, created, added: 1, layers, blobs, names };
        store.db().add_images(&[new]).unwrap();
        Fixture { _folder: folder, store }
    }

    /// One that runs, with a file in each of its folders.
    pub fn running(&self, id: &str, remove: bool) -> ContainerRow {
        let config = Config { image: String::new(), command: Vec::new(), labels: BTreeMap::new(), remove };
        let row = ContainerRow {
            sandbox: Some(id.to_string()),
            state: ContainerState::Running,
            ..ContainerRow::new(
                id,
                &format!("name of {id}"),
                Digest::of(b"image"),
                "namespace",
                serde_json::to_string(&config).unwrap(),
            )
        };
        let (boot_id, mode) = ("boot".to_string(), row.mode.clone());
        let sandbox = NewSandbox { id: row.id.clone(), boot_id, mode, created: 1 };
        self.store.db().add_sandbox_with_container(&sandbox, None, &row).unwrap();
        for folder in [self.store.paths().sandbox(id), self.store.paths().run_sandbox(id)] {
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("file"), "content").unwrap();
        }
        row
    }

    pub fn state(&self, id: &str) -> Option<ContainerState> {
        self.store.db().container(id).ok().map(|row| row.state)
    }

    /// Makes the sandboxes' folders unreachable, so that nothing can be told or removed, until undone.
    pub fn breaking(&self, act: impl FnOnce()) {
        let (folder, aside) = (self.store.paths().sandboxes(), self.store.paths().root().join("aside"));
        fs::rename(&folder, &aside).unwrap();
        symlink(&folder, &folder).unwrap();
        act();
        fs::remove_file(&folder).unwrap();
        fs::rename(&aside, &folder).unwrap();
    }

    pub fn folders(&self, id: &str) -> usize {
        let paths = [self.store.paths().sandbox(id), self.store.paths().run_sandbox(id)];
        paths.iter().filter(|path| path.exists()).count()
    }

    fn record(&self, id: &str) -> Record {
        let (dir, run_dir) = (self.store.paths().sandbox(id), self.store.paths().run_sandbox(id));
        let lock = SandboxLock::attempt(&dir).unwrap().unwrap();
        let (id, mode) = (id.to_string(), Isolation::Namespace);
        Record { id, mode, dir, run_dir, uid: None, remove: false, _lock: lock }
    }
}

#[test]
fn the_end_leaves_the_writable_layer_and_with_rm_nothing() {
    let fixture = Fixture::new();
    for (id, remove) in [("kept", false), ("removed", true)] {
        fixture.running(id, remove);
        finish(&fixture.store, id, remove, 3);
    }
    assert_eq!(fixture.state("kept"), Some(ContainerState::Exited));
    assert_eq!((fixture.folders("kept"), fixture.store.paths().sandbox("kept").exists()), (1, true));
    assert_eq!((fixture.folders("removed"), fixture.state("removed")), (0, None));
    assert!(fixture.store.db().sandboxes().unwrap().is_empty());
}

#[test]
fn a_folder_that_cannot_be_removed_keeps_its_row() {
    let fixture = Fixture::new();
    fixture.running("ending", true);
    fixture.running("ended", false);
    finish(&fixture.store, "ended", false, 0);
    let row = fixture.store.db().container("ended").unwrap();
    fixture.breaking(|| {
        finish(&fixture.store, "ending", true, 0);
        assert!(remove(&fixture.store, &row).is_err());
    });
    assert_eq!(fixture.state("ending"), Some(ContainerState::Removing));
    assert_eq!(fixture.state("ended"), Some(ContainerState::Removing));
    remove(&fixture.store, &row).unwrap();
    assert_eq!((fixture.folders("ended"), fixture.state("ended")), (0, None));
}

#[test]
fn removing_tells_the_owner_and_waits_for_it() {
    let fixture = Fixture::new();
    let row = fixture.running("a", false);
    let record = fixture.record("a");
    assert!(!record.is_being_removed(&fixture.store));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !record.is_being_removed(&fixture.store) {
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(fixture.folders("a"), 2, "its owner still uses them");
            record.finish(&fixture.store, KILLED);
        });
        remove(&fixture.store, &row).unwrap();
    });
    assert_eq!((fixture.folders("a"), fixture.state("a")), (0, None));
}

#[test]
fn whose_row_is_gone_is_being_removed() {
    let fixture = Fixture::new();
    fixture.running("a", true);
    let record = fixture.record("a");
    finish(&fixture.store, "a", true, 0);
    assert!(record.is_being_removed(&fixture.store));
}
