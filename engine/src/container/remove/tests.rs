use std::fs;
use std::os::unix::fs::symlink;
use std::thread;

use super::*;
use crate::context::Context;
use crate::image::digest::Digest;
use crate::sandbox::mode::Isolation;
use crate::store::db::images::NewImage;
use crate::store::{NewSandbox, PodRow, With};
use crate::volume::catalog::{self, Wanted};
use crate::volume::patience::Patience;

/// A store with an image and rows of containers, whose folders are there and whose locks are free.
pub(crate) struct Fixture {
    _folder: tempfile::TempDir,
    pub context: Context,
    pub store: Store,
}

impl Fixture {
    pub fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let (root, run) = (folder.path().join("lib"), folder.path().join("run"));
        let store = Store::open(&root, &run).unwrap();
        let image = Digest::of(b"image");
        let (created, layers, blobs, names) = (String::new(), Vec::new(), Vec::new(), Vec::new());
        let new =
            NewImage { id: image, manifest: image, chain: image, created, added: 1, layers, blobs, names };
        store.db().add_images(&[new]).unwrap();
        Fixture {
            _folder: folder,
            context: Context { root, run, config: Default::default(), registries: Default::default() },
            store,
        }
    }

    /// One that runs, with a file in each of its folders.
    pub fn running(&self, id: &str, remove: bool) -> ContainerRow {
        self.created(id, remove, 1);
        self.store.db().change(id, &Change::Started { pid: 1 }).unwrap()
    }

    /// One with --rm that is about to run, made for that (as by run) or before.
    pub fn starting(&self, id: &str, just_made: bool) {
        self.created(id, true, if just_made { 0 } else { 1 });
    }

    /// With a sandbox, which is so much younger.
    fn created(&self, id: &str, remove: bool, younger: i64) {
        let config = serde_json::json!({
            "image": "", "remove": remove, "hostname": "",
            "process": {
                "args": ["true"], "env": [], "cwd": "/", "user": "", "terminal": null, "stdin": false,
                "capabilities": [], "no_new_privileges": false, "seccomp": "default", "rlimits": [],
                "init": false,
            },
        });
        let mut row = ContainerRow::new(
            id,
            &format!("name of {id}"),
            Digest::of(b"image"),
            Isolation::Namespace,
            config.to_string(),
        );
        row.sandbox = Some(id.to_string());
        let (boot_id, mode) = ("boot".to_string(), row.mode);
        let sandbox = NewSandbox { id: row.id.clone(), boot_id, mode, created: row.created + younger };
        self.store.db().add_sandbox_with_container(&sandbox, None, &row, With::default()).unwrap();
        for folder in self.paths(id) {
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("file"), "content").unwrap();
        }
    }

    /// One whose supervisor has ended it in good order.
    pub fn exited(&self, id: &str) -> ContainerRow {
        self.running(id, false);
        let change = Change::Exited { exit_code: 0, oom_killed: false, error: String::new() };
        let row = self.store.db().change(id, &change).unwrap();
        super::sandbox(&self.store, id);
        row
    }

    fn paths(&self, id: &str) -> [std::path::PathBuf; 3] {
        let paths = self.store.paths();
        [paths.container(id), paths.sandbox(id), paths.run_sandbox(id)]
    }

    pub fn state(&self, id: &str) -> Option<ContainerState> {
        self.store.db().container(id).ok().map(|row| row.state)
    }

    /// Makes the containers' and the sandboxes' folders unreachable, so that nothing can be told or removed,
    /// until undone.
    pub fn breaking(&self, act: impl FnOnce()) {
        let aside = |folder: &std::path::Path| folder.with_extension("aside");
        let folders = [self.store.paths().sandboxes(), self.store.paths().containers()];
        for folder in &folders {
            fs::rename(folder, aside(folder)).unwrap();
            symlink(folder, folder).unwrap();
        }
        act();
        for folder in &folders {
            fs::remove_file(folder).unwrap();
            fs::rename(aside(folder), folder).unwrap();
        }
    }

    pub fn folders(&self, id: &str) -> usize {
        self.paths(id).iter().filter(|path| path.exists()).count()
    }
}

#[test]
fn the_end_of_a_sandbox_leaves_the_containers_folder_and_its_own() {
    let fixture = Fixture::new();
    fixture.exited("kept");
    assert_eq!(fixture.state("kept"), Some(ContainerState::Exited));
    assert_eq!(fixture.folders("kept"), 2);
    assert!(fixture.store.db().sandboxes().unwrap().is_empty());
}

#[test]
fn a_folder_that_cannot_be_removed_keeps_its_row() {
    let fixture = Fixture::new();
    fixture.running("ending", true);
    let row = fixture.exited("ended");
    fixture.breaking(|| {
        assert!(ended(&fixture.store, "ending").is_err());
        assert!(whole(&fixture.store, &row).is_err());
    });
    assert_eq!(fixture.state("ending"), Some(ContainerState::Removing));
    assert_eq!(fixture.state("ended"), Some(ContainerState::Removing));
    let row = fixture.store.db().container("ended").unwrap();
    whole(&fixture.store, &row).unwrap();
    assert_eq!((fixture.folders("ended"), fixture.state("ended")), (0, None));
}

#[test]
fn removing_tells_the_supervisor_and_waits_for_it() {
    let fixture = Fixture::new();
    let row = fixture.running("a", false);
    let lock = SandboxLock::attempt(&fixture.store.paths().sandbox("a")).unwrap().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while fixture.state("a") != Some(ContainerState::Removing) {
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(fixture.folders("a"), 3, "its supervisor still uses them");
            drop(lock);
        });
        whole(&fixture.store, &row).unwrap();
    });
    assert_eq!((fixture.folders("a"), fixture.state("a")), (0, None));
}

#[test]
fn what_is_gone_is_removed() {
    let fixture = Fixture::new();
    fixture.running("a", true);
    ended(&fixture.store, "a").unwrap();
    assert_eq!((fixture.folders("a"), fixture.state("a")), (0, None));
    ended(&fixture.store, "a").unwrap();
}

#[test]
fn a_pod_lets_go_of_volumes_that_only_a_removed_container_had() {
    let fixture = Fixture::new();
    let db = fixture.store.db();
    let (id, name, mode) = ("pod".to_string(), "pod".to_string(), Isolation::Namespace);
    db.add_pod_with(&PodRow { id, name, mode, created: 1, config: String::new() }, &[]).unwrap();
    let wanted = |name: &str| Wanted { name: Some(name.to_string()), ..Wanted::default() };
    for name in ["shared", "alone"] {
        let row = catalog::ensure(&fixture.store, wanted(name)).unwrap();
        driver::mount(&fixture.store, &row.name, "pod", mode, Patience::COMMAND).unwrap();
    }
    for (id, volumes) in [("one", &["shared", "alone"][..]), ("two", &["shared"])] {
        let mut row = ContainerRow::new(id, id, Digest::of(b"image"), mode, String::new());
        row.pod = Some("pod".to_string());
        db.add_container_with(&row, With { endpoints: &[], volumes }).unwrap();
    }
    discard(&fixture.store, "one", true, None).unwrap();
    assert_eq!(db.mounted_by("pod").unwrap(), ["shared"]);
    assert!(catalog::remove(&fixture.store, "alone", false).is_ok());
}
