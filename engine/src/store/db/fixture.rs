//! A store for the tests of this folder.

use super::Database;
use super::containers::ContainerRow;
use super::images::NewImage;
use super::sandboxes::NewSandbox;
use crate::image::digest::Digest;
use crate::sandbox::mode::Isolation;
use crate::store::Store;

pub struct Fixture {
    folder: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    /// A store with one image.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Self { store: open(&folder), folder };
        let image = Digest::of(b"image");
        let (created, layers, blobs, names) = (String::new(), Vec::new(), Vec::new(), Vec::new());
        let new =
            NewImage { id: image, manifest: image, chain: image, created, added: 1, layers, blobs, names };
        fixture.db().add_images(&[new]).unwrap();
        fixture
    }

    pub fn db(&self) -> &Database {
        self.store.db()
    }

    /// As another process would have it open.
    pub fn another(&self) -> Store {
        open(&self.folder)
    }

    /// Adds a container of this id and name.
    pub fn add(&self, id: &str, name: &str) -> ContainerRow {
        let row = container(id, name);
        self.db().add_container(&row).unwrap();
        row
    }

    /// `actor action key=value...` of every event.
    pub fn events(&self) -> Vec<String> {
        let rows = self.db().events(super::events::Since::Id(0), None, u32::MAX).unwrap();
        let line = |row: super::events::EventRow| {
            let attributes = row.attributes.iter().map(|(key, value)| format!(" {key}={value}"));
            format!("{} {}{}", row.actor, row.action, attributes.collect::<String>())
        };
        rows.into_iter().map(line).collect()
    }
}

fn open(folder: &tempfile::TempDir) -> Store {
    Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap()
}

pub fn sandbox(id: &str) -> NewSandbox {
    NewSandbox { id: id.to_owned(), boot_id: "boot".to_owned(), mode: Isolation::Vm, created: 1 }
}

pub fn container(id: &str, name: &str) -> ContainerRow {
    let config = r#"{"image":"debian","labels":{"a":"1"},"other":[2]}"#;
    ContainerRow::new(id, name, Digest::of(b"image"), Isolation::Vm, config.to_owned())
}
