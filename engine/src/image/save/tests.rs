//! What is saved loads again as the same images, whatever they came from.

use std::io::Cursor;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::image::catalog;
use crate::image::convert::Options;
use crate::image::layer::tar::TarReader;
use crate::image::load::tests::{base, docker, gzip, layout, pack, store, top};
use crate::image::load::{Input, Loaded, load};

fn load_bytes(store: &Store, archive: &[u8]) -> Vec<Loaded> {
    load(store, Input::Stream(&mut Cursor::new(archive)), Options::default()).unwrap()
}

fn saved(store: &Store, wanted: &[&str]) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
    save(store, &Naming::default(), &wanted, &mut archive)?;
    Ok(archive)
}

/// The archive's files by name.
fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut reader = TarReader::new(archive);
    let mut files = BTreeMap::new();
    while let Some(member) = reader.next_member().unwrap() {
        let bytes = reader.read_all(1 << 20).unwrap().unwrap();
        let name = String::from_utf8(member.path).unwrap();
        assert!(files.insert(name, bytes).is_none(), "each is there once");
    }
    files
}

fn document(archive: &[u8], name: &str) -> Value {
    serde_json::from_slice(&files(archive)[name]).unwrap()
}

/// A store with images from archives of all kinds: `a:1` and `a:2` plain, `b:1` compressed.
fn filled() -> (TempDir, Store) {
    let (folder, store) = store();
    load_bytes(&store, &pack(&docker(&[(&["a:1", "other:x"], &[base(), top()]), (&["a:2"], &[base()])])));
    load_bytes(&store, &pack(&layout(&[("b:1", &[top()])], gzip)));
    (folder, store)
}

#[test]
fn images_come_back_the_same() {
    let (_folder, from) = filled();
    let archive = saved(&from, &["a:1", "a:2", "b:1"]).unwrap();
    let (_folder, to) = store();
    assert_eq!(load_bytes(&to, &archive).len(), 3);
    for name in ["a:1", "a:2", "b:1"] {
        let (before, after) = (
            catalog::find(&from, &Naming::default(), name).unwrap(),
            catalog::find(&to, &Naming::default(), name).unwrap(),
        );
        assert_eq!((before.id, before.manifest), (after.id, after.manifest), "{name}");
    }
    assert_eq!(saved(&to, &["a:1", "a:2", "b:1"]).unwrap(), archive, "from the other store, too");
}

#[test]
fn layers_are_the_bytes_that_came_and_are_there_once() {
    let (_folder, store) = filled();
    let archive = saved(&store, &["a:1", "a:2", "b:1"]).unwrap();
    let files = files(&archive);
    for layer in [base(), top(), gzip(&top())] {
        assert_eq!(files[&blob_name(&Digest::of(&layer))], layer);
    }
    let all = document(&archive, "manifest.json");
    assert_eq!(all[0]["Layers"][0], all[1]["Layers"][0], "shared");
    assert_eq!(document(&archive, "repositories")["a"]["2"], Digest::of(&base()).hex());
}

#[test]
fn names_go_out_as_docker_has_it() {
    let (_folder, store) = filled();
    let id = catalog::find(&store, &Naming::default(), "a:1").unwrap().id;
    let tags = |wanted: &[&str]| {
        let archive = saved(&store, wanted).unwrap();
        let images = document(&archive, "manifest.json").as_array().unwrap().clone();
        images.iter().map(|image| image["RepoTags"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(tags(&["a:1"]), [r#"["a:1"]"#]);
    assert_eq!(tags(&["a"]), [r#"["a:1"]"#, r#"["a:2"]"#]);
    assert_eq!(tags(&["a:1", "other:x", "a:1"]), [r#"["a:1","other:x"]"#]);
    assert_eq!(tags(&[&id.to_string()]), ["null"]);
    assert_eq!(tags(&[&id.hex()[..12]]), ["null"]);
    assert_eq!(saved(&store, &["a:1", "nothing"]).unwrap_err().to_string(), "No such image: nothing:latest");
    let archive = saved(&store, &["other:x"]).unwrap();
    let index = document(&archive, "index.json");
    assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "docker.io/library/other:x");
}

#[test]
fn a_layer_without_its_tar_is_told_and_mended_by_loading_again() {
    let (_folder, store) = filled();
    std::fs::remove_file(store.paths().recipe(&Digest::of(&top()))).unwrap();
    let error = saved(&store, &["a:1"]).unwrap_err().to_string();
    assert!(error.contains("load or import its archive once more"), "{error}");
    load_bytes(&store, &pack(&docker(&[(&["a:1"], &[base(), top()])])));
    saved(&store, &["a:1"]).unwrap();
}

#[test]
fn a_damaged_blob_is_not_saved() {
    let (_folder, store) = filled();
    let path = store.paths().blob(&Digest::of(&gzip(&top())));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let error = format!("{:#}", anyhow::Error::from(saved(&store, &["b:1"]).unwrap_err()));
    assert!(error.contains("is damaged"), "{error}");
}

#[test]
fn a_damaged_config_is_not_saved() {
    let (_folder, store) = filled();
    let id = catalog::find(&store, &Naming::default(), "b:1").unwrap().id;
    let path = store.paths().blob(&id);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.push(b' ');
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let error = saved(&store, &["b:1"]).unwrap_err().to_string();
    assert!(error.contains("it is corrupt"), "{error}");
}

#[test]
fn any_two_tags_are_told_apart_from_a_port() {
    use crate::image::reference::is_name_only;
    for (text, only) in
        [("a", true), ("a:1", false), ("host:5000/a", true), ("host:5000/a:1", false), ("a@sha256:0", false)]
    {
        assert_eq!(is_name_only(text), only, "{text}");
    }
}
