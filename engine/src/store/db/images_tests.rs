use super::*;
use crate::sandbox::mode::Isolation;
use crate::store::{ContainerRow, ContainerState, Store};

pub(in crate::store::db) fn store() -> (tempfile::TempDir, Store) {
    Store::temporary()
}

pub(in crate::store::db) fn image(id: &str, layers: &[&str], names: &[&str]) -> NewImage {
    let layer = |name: &&str| LayerRow {
        diff_id: Digest::of(name.as_bytes()),
        bytes: 4096,
        tar_bytes: 1000,
        entries: 3,
    };
    NewImage {
        id: Digest::of(id.as_bytes()),
        manifest: Digest::of(format!("manifest of {id}").as_bytes()),
        chain: Digest::of(format!("chain of {id}").as_bytes()),
        created: "2024-01-01T00:00:00Z".to_owned(),
        added: 1,
        layers: layers.iter().map(layer).collect(),
        blobs: vec![(Digest::of(id.as_bytes()), 10)],
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    }
}

pub(in crate::store::db) fn container(name: &str, image: &str, state: ContainerState) -> ContainerRow {
    let (id, image) = (Digest::of(name.as_bytes()).hex(), Digest::of(image.as_bytes()));
    ContainerRow { state, ..ContainerRow::new(&id, name, image, Isolation::Namespace, "{}".to_owned()) }
}

#[test]
fn a_name_moves_to_the_image_that_takes_it() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_images(&[image("a", &["l"], &["x:1"]), image("b", &["l"], &["x:1", "y:1"])]).unwrap();
    assert_eq!(db.image_named("x:1").unwrap().unwrap().id, Digest::of(b"b"));
    assert!(db.image(&Digest::of(b"a")).unwrap().unwrap().names.is_empty(), "stays, without a name");
    let b = db.image(&Digest::of(b"b")).unwrap().unwrap();
    assert_eq!((b.names.len(), b.bytes), (2, 1000));
}

#[test]
fn ids_are_found_by_their_start_if_only_one_has_it() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_images(&[image("a", &[], &[]), image("b", &[], &[])]).unwrap();
    let id = Digest::of(b"a");
    assert_eq!(db.image_starting(&id.hex()[..12]).unwrap().unwrap().id, id);
    assert!(db.image_starting("ffffffffffff").unwrap().is_none());
    assert!(matches!(db.image_starting(""), Err(Error::Ambiguous { .. })));
}

#[test]
fn an_image_loaded_again_is_seen_again() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_images(&[image("a", &["l"], &["x:1"])]).unwrap();
    db.add_container(&container("c", "a", ContainerState::Exited)).unwrap();
    db.remove_image_name("x:1", true).unwrap().unwrap();
    db.add_images(&[image("a", &["l"], &["x:1"])]).unwrap();
    assert_eq!(db.images().unwrap().len(), 1);
    assert_eq!(db.layers_of(&Digest::of(b"a")).unwrap().len(), 1);
}

#[test]
fn layers_are_kept_as_long_as_one_image_has_them() {
    let (_folder, store) = store();
    let db = store.db();
    db.add_images(&[image("a", &["base", "top"], &["a:1"]), image("b", &["base"], &["b:1"])]).unwrap();
    db.remove_image_name("a:1", false).unwrap().unwrap();
    assert_eq!(db.collect().unwrap().layers.into_iter().collect::<Vec<_>>(), [Digest::of(b"base")]);
    assert!(db.layer(&Digest::of(b"top")).unwrap().is_none());
}
