//! Archives of both kinds, good and bad, and what they leave in the store.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::image::layer::tests::Archive;
use crate::image::{Naming, catalog, inspect};
use crate::sandbox::mode::Isolation;
use crate::store::Kind;

pub fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
    (folder, store)
}

/// Every file in the store but the database's.
fn files(folder: &TempDir) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut todo = vec![folder.path().join("lib")];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if !path.to_string_lossy().contains("hull.db") && !path.ends_with("files.lock") {
                files.insert(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    files
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn config(layers: &[Vec<u8>], architecture: &str) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    json!({
        "architecture": architecture, "os": "linux", "created": "2024-05-06T07:08:09Z",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": null},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
    .into_bytes()
}

pub(super) fn host() -> String {
    super::super::platform::host().architecture
}

/// Members of an archive, in order.
pub type Files = Vec<(String, Vec<u8>)>;

/// An OCI image layout. `pack` compresses a layer.
pub fn layout(images: &[(&str, &[Vec<u8>])], pack: fn(&[u8]) -> Vec<u8>) -> Files {
    let mut files: Files = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
    let mut manifests = Vec::new();
    for (name, layers) in images {
        let descriptor = add_manifest(&mut files, layers, &host(), pack);
        let mut descriptor = descriptor;
        if !name.is_empty() {
            descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        manifests.push(descriptor);
    }
    files.push((
        "index.json".to_owned(),
        json!({"schemaVersion": 2, "manifests": manifests}).to_string().into(),
    ));
    files
}

pub(super) fn add_blob(files: &mut Files, bytes: Vec<u8>, media_type: &str) -> Value {
    let digest = Digest::of(&bytes);
    let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
    files.push((format!("blobs/sha256/{}", digest.hex()), bytes));
    descriptor
}

fn add_manifest(
    files: &mut Files,
    layers: &[Vec<u8>],
    architecture: &str,
    pack: fn(&[u8]) -> Vec<u8>,
) -> Value {
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    let config = add_blob(files, config(layers, architecture), "application/vnd.oci.image.config.v1+json");
    let layers: Vec<_> = layers.iter().map(|layer| add_blob(files, pack(layer), LAYER)).collect();
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string();
    add_blob(files, manifest.into_bytes(), "application/vnd.oci.image.manifest.v1+json")
}

/// A docker archive whose manifest comes last.
pub fn docker(images: &[(&[&str], &[Vec<u8>])]) -> Files {
    let mut files = Files::new();
    let mut manifest = Vec::new();
    for (names, layers) in images {
        let config = config(layers, &host());
        let config_name = format!("{}.json", Digest::of(&config).hex());
        let mut members = Vec::new();
        for layer in *layers {
            let name = format!("{}/layer.tar", Digest::of(layer).hex());
            files.push((name.clone(), layer.clone()));
            members.push(name);
        }
        files.push((config_name.clone(), config));
        manifest.push(json!({"Config": config_name, "RepoTags": names, "Layers": members}));
    }
    files.push(("manifest.json".to_owned(), Value::Array(manifest).to_string().into_bytes()));
    files
}

pub fn pack(files: &Files) -> Vec<u8> {
    files.iter().fold(Archive::new(), |archive, (name, bytes)| archive.file(name, bytes)).bytes()
}

pub(super) fn unpack(files: &Files, folder: &Path) {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

pub(super) fn load_bytes(store: &Store, archive: &[u8]) -> Result<Vec<Loaded>> {
    load(store, Input::Stream(&mut Cursor::new(archive)), Options::default())
}

/// Loads in every way there is; each into a store of its own.
pub(super) fn each_way(files: &Files, mut check: impl FnMut(&str, Result<Vec<Loaded>>, &Store, &TempDir)) {
    let scratch = tempfile::tempdir().unwrap();
    let archive = pack(files);
    let (plain, packed, folder) =
        (scratch.path().join("a.tar"), scratch.path().join("a.tar.gz"), scratch.path().join("folder"));
    fs::write(&plain, &archive).unwrap();
    fs::write(&packed, gzip(&archive)).unwrap();
    unpack(files, &folder);
    for (way, path) in [("file", &plain), ("compressed file", &packed), ("folder", &folder)] {
        let (root, store) = store();
        check(way, load(&store, Input::Path(path), Options::default()), &store, &root);
    }
    let (root, store) = store();
    check("stream", load_bytes(&store, &archive), &store, &root);
}

/// Loads in every way, and expects an error that says `text` and leaves no file.
pub(super) fn refused(files: &Files, text: &str) {
    each_way(files, |way, outcome, store, root| {
        let error = outcome.expect_err(way);
        assert_eq!(error.kind(), Kind::Invalid, "{way}");
        let mut chain = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            chain += &format!(": {cause}");
            source = cause.source();
        }
        assert!(chain.contains(text), "{way}: {chain}");
        assert!(catalog::list(store).unwrap().is_empty(), "{way}");
        assert!(files_left(root).is_empty(), "{way}: {:?}", files_left(root));
    });
}

fn files_left(root: &TempDir) -> BTreeSet<String> {
    files(root)
}

pub fn base() -> Vec<u8> {
    Archive::new().file("bin/sh", b"#!").symlink("lib", "usr/lib").bytes()
}

pub fn top() -> Vec<u8> {
    Archive::new().file("etc/top", b"top").file("bin/.wh.sh", b"").bytes()
}

#[test]
fn both_kinds_of_archive_load_in_every_way() {
    let layers = [base(), top()];
    for archive in [docker(&[(&["name:1"], &layers)]), layout(&[("name:1", &layers)], gzip)] {
        each_way(&archive, |way, outcome, store, _| {
            let loaded = outcome.unwrap_or_else(|error| panic!("{way}: {error:?}"));
            let [image] = loaded.as_slice() else { panic!("{way}: one image") };
            assert_eq!(image.names[0].familiar(), "name:1", "{way}");
            let found = catalog::resolve(store, &Naming::default(), "name:1").unwrap();
            assert_eq!((found.id, found.layers.len()), (image.id, 2), "{way}");
            assert_eq!(found.config.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
            let root = catalog::root_for(store, &found).unwrap();
            assert_eq!(root.layers.len(), 2, "{way}");
            assert_eq!(root.layers[0].start_sector, root.metadata_sectors);
            let last = root.layers.last().unwrap();
            assert_eq!(root.total_sectors, last.start_sector + last.sectors);
        });
    }
}

#[test]
fn compressed_layers_are_kept_and_plain_ones_are_not() {
    let layers = [base()];
    each_way(&layout(&[("x", &layers)], gzip), |way, outcome, _, root| {
        outcome.unwrap();
        assert!(files(root).contains(&Digest::of(&gzip(&layers[0])).hex()), "{way}");
    });
    each_way(&layout(&[("x", &layers)], <[u8]>::to_vec), |way, outcome, _, root| {
        outcome.unwrap();
        assert!(!files(root).contains(&Digest::of(&layers[0]).hex()), "{way}");
    });
}

#[test]
fn removing_an_image_leaves_what_another_needs_and_nothing_else() {
    let (root, store) = store();
    load_bytes(&store, &pack(&docker(&[(&["a:1", "b:1"], &[base(), top()]), (&["c:1"], &[base()])])))
        .unwrap();
    let all = files(&root);
    assert_eq!(catalog::remove(&store, &Naming::default(), "a:1", false).unwrap().deleted, None);
    assert_eq!(files(&root), all);
    assert!(catalog::remove(&store, &Naming::default(), "b:1", false).unwrap().deleted.is_some());
    // One layer with its recipe, its root (of the same digest as the layer), config and manifest.
    assert_eq!(files(&root).len(), 4);
    catalog::resolve(&store, &Naming::default(), "c").unwrap_err();
    catalog::resolve(&store, &Naming::default(), "c:1").unwrap();
    catalog::remove(&store, &Naming::default(), "c:1", false).unwrap();
    assert!(files(&root).is_empty());
    assert_eq!(catalog::remove(&store, &Naming::default(), "c:1", false).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn loading_twice_changes_nothing() {
    let (root, store) = store();
    let archive = pack(&layout(&[("x", &[base(), top()])], gzip));
    let first = load_bytes(&store, &archive).unwrap();
    let all = files(&root);
    assert_eq!(load_bytes(&store, &archive).unwrap(), first);
    assert_eq!(files(&root), all);
    assert_eq!(catalog::list(&store).unwrap().len(), 1);
}

#[test]
fn a_layer_known_from_elsewhere_still_brings_its_compressed_form() {
    let (root, store) = store();
    load_bytes(&store, &pack(&docker(&[(&["a"], &[base()])]))).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    unpack(&layout(&[("b", &[base()])], gzip), scratch.path());
    load(&store, Input::Path(scratch.path()), Options::default()).unwrap();
    assert!(files(&root).contains(&Digest::of(&gzip(&base())).hex()));
}

#[test]
fn a_layer_known_without_a_recipe_gets_one_from_a_plain_archive() {
    let plain = docker(&[(&["a"], &[base()])]);
    each_way(&plain, |way, outcome, store, _| {
        outcome.unwrap();
        let recipe = store.paths().recipe(&Digest::of(&base()));
        // As an older release left it.
        fs::remove_file(&recipe).unwrap();
        load_bytes(store, &pack(&plain)).unwrap();
        assert!(recipe.exists(), "{way}");
    });
    let (_root, store) = store();
    let recipe = store.paths().recipe(&Digest::of(&base()));
    load_bytes(&store, &pack(&layout(&[("b", &[base()])], gzip))).unwrap();
    assert!(!recipe.exists(), "the compressed form is enough");
    let scratch = tempfile::tempdir().unwrap();
    unpack(&plain, scratch.path());
    load(&store, Input::Path(scratch.path()), Options::default()).unwrap();
    assert!(recipe.exists());
}

#[test]
fn archives_with_several_images_and_with_no_names_load() {
    each_way(
        &docker(&[(&[], &[base()]), (&["x"], &[top()]), (&["y"], &[base(), base()])]),
        |way, outcome, store, _| {
            assert_eq!(outcome.unwrap().len(), 3, "{way}");
            let images = catalog::list(store).unwrap();
            assert_eq!(images.iter().filter(|image| image.names.is_empty()).count(), 1, "{way}");
            let unnamed = images.iter().find(|image| image.names.is_empty()).unwrap();
            assert_eq!(
                catalog::resolve(store, &Naming::default(), &unnamed.id.hex()[..10]).unwrap().id,
                unnamed.id
            );
        },
    );
}

#[test]
fn an_index_of_several_platforms_gives_this_machines_image() {
    let mut archive = layout(&[], gzip);
    let mut foreign = add_manifest(&mut archive, &[top()], "riscv128", gzip);
    foreign["platform"] = json!({"os": "linux", "architecture": "riscv128"});
    let mut attestation = foreign.clone();
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let mut own = add_manifest(&mut archive, &[base()], &host(), gzip);
    own["platform"] = json!({"os": "linux", "architecture": host()});
    let several = json!({"schemaVersion": 2, "manifests": [attestation, foreign, own]}).to_string();
    let index = add_blob(&mut archive, several.into_bytes(), "application/vnd.oci.image.index.v1+json");
    let foreign_only = json!({"schemaVersion": 2, "manifests": [attestation, foreign]}).to_string();
    let foreign_index =
        add_blob(&mut archive, foreign_only.into_bytes(), "application/vnd.oci.image.index.v1+json");

    let with = |descriptor: &Value| {
        let mut archive = archive.clone();
        archive.retain(|(name, _)| name != "index.json");
        archive.push(("index.json".to_owned(), json!({"manifests": [descriptor]}).to_string().into_bytes()));
        archive
    };
    each_way(&with(&index), |way, outcome, store, _| {
        let id = outcome.unwrap()[0].id;
        assert_eq!(catalog::config(store, &id).unwrap().rootfs.diff_ids, [Digest::of(&base())], "{way}");
    });
    refused(&with(&foreign_index), "linux/riscv128");
    refused(&with(&foreign), "linux/riscv128");
}

#[test]
fn corrupt_blobs_are_refused() {
    let good = layout(&[("x", &[base()])], gzip);
    let is_blob = |(name, _): &(String, Vec<u8>)| name.starts_with("blobs/");
    for (at, _) in good.iter().enumerate().filter(|(_, file)| is_blob(file)) {
        let mut bad = good.clone();
        let bytes = &mut bad[at].1;
        if bytes.starts_with(b"{") {
            bytes.push(b' ');
        } else {
            // Another layer, whole, under this one's digest.
            *bytes = gzip(&top());
        }
        refused(&bad, "it is corrupt");
    }
}

#[test]
fn damaged_and_cut_layers_are_refused() {
    let good = layout(&[("x", &[base()])], gzip);
    let layer = good.iter().position(|(_, bytes)| bytes.starts_with(&[0x1f, 0x8b])).unwrap();
    let mut cut = good.clone();
    let length = cut[layer].1.len();
    cut[layer].1.truncate(length / 2);
    refused(&cut, "Failed to");
    let mut garbage = good.clone();
    garbage[layer].1.extend(b"garbage");
    refused(&garbage, "Failed to");
    let mut archive = docker(&[(&["x"], &[base()])]);
    archive[0].1.truncate(700);
    refused(&archive, "ends in the middle");
}

#[test]
fn layers_of_another_image_are_refused() {
    let mut archive = docker(&[(&["x"], &[base(), top()])]);
    archive[0].1 = Archive::new().file("other", b"").bytes();
    refused(&archive, "belongs to another image");
}

#[test]
fn what_a_manifest_names_must_be_there_and_be_right() {
    let mut missing = docker(&[(&["x"], &[base(), top()])]);
    missing.remove(0);
    refused(&missing, "has no file");
    let mut fewer = docker(&[(&["x"], &[base(), top()])]);
    let manifest = fewer.last_mut().unwrap();
    let mut value: Value = serde_json::from_slice(&manifest.1).unwrap();
    value[0]["Layers"].as_array_mut().unwrap().pop();
    manifest.1 = value.to_string().into_bytes();
    refused(&fewer, "the manifest has 1 layers, the image's config 2");
    value[0]["Config"] = json!("../../../etc/passwd");
    fewer.last_mut().unwrap().1 = value.to_string().into_bytes();
    let scratch = tempfile::tempdir().unwrap();
    unpack(&fewer, scratch.path());
    let (_root, store) = store();
    assert!(load(&store, Input::Path(scratch.path()), Options::default()).is_err());
    refused(&vec![("x".to_owned(), b"y".to_vec())], "neither a docker archive");
    refused(&vec![("manifest.json".to_owned(), b"{]".to_vec())], "manifest.json");
    refused(&docker(&[(&["Bad Name"], &[base()])]), "not a valid image name");
}

#[test]
fn an_image_for_another_machine_is_refused_in_words() {
    let mut archive = docker(&[(&["x"], &[])]);
    archive[0].1 = config(&[], "sparc");
    archive[0].0 = "config.json".to_owned();
    archive[1].1 =
        json!([{"Config": "config.json", "RepoTags": ["x"], "Layers": []}]).to_string().into_bytes();
    refused(&archive, "the image is for linux/sparc, this host is linux/");
}

#[test]
fn hostile_layers_are_refused() {
    for (layer, text) in [
        (Archive::new().file("../evil", b""), "\"..\""),
        (Archive::new().symlink("out", "../../tmp").file("out/evil", b""), "leads out of the image"),
        (Archive::new().link("b", "missing"), "no target"),
        (
            Archive::new()
                .pax(&[("GNU.sparse.size", b"99999999999999"), ("GNU.sparse.map", b"")])
                .file("s", b""),
            "8 TiB",
        ),
    ] {
        refused(&docker(&[(&["x"], &[layer.bytes()])]), text);
    }
}

#[test]
fn a_tar_bomb_stops_at_the_limit() {
    let (root, store) = store();
    let bomb = Archive::new().file("zeros", &vec![0; 4 << 20]).bytes();
    let archive = gzip(&pack(&docker(&[(&["x"], &[bomb])])));
    let options = Options { max_unpacked: 1 << 20, ..Options::default() };
    let error = load(&store, Input::Stream(&mut Cursor::new(archive)), options).unwrap_err();
    assert!(format!("{error:?}").contains("1048576"), "{error:?}");
    assert!(files(&root).is_empty());
}

#[test]
fn a_large_hole_is_loaded_as_a_hole() {
    let (_root, store) = store();
    let sparse: [(&str, &[u8]); 2] =
        [("GNU.sparse.size", b"10737418240"), ("GNU.sparse.map", b"10737418235,5")];
    let layer = Archive::new().pax(&sparse).file("sparse", b"abcde").bytes();
    let loaded = load_bytes(&store, &pack(&docker(&[(&["x"], &[layer])]))).unwrap();
    let layers = store.db().layers_of(&loaded[0].id).unwrap();
    let metadata = store.paths().layer(&layers[0].diff_id).metadata().unwrap();
    assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 < 1 << 20);
}

#[test]
fn an_image_without_layers_has_an_empty_root() {
    let (_root, store) = store();
    load_bytes(&store, &pack(&docker(&[(&["scratch-like"], &[])]))).unwrap();
    let root =
        catalog::root_for(&store, &catalog::resolve(&store, &Naming::default(), "scratch-like").unwrap())
            .unwrap();
    assert!(root.layers.is_empty());
    assert_eq!(root.total_sectors, root.metadata_sectors);
}

#[test]
fn imported_tars_become_images() {
    use crate::image::import::{Import, import};
    let (_root, store) = store();
    let name: Reference = "mine:1".parse().unwrap();
    let request = Import { name: Some(name), message: "by hand".to_owned(), ..Import::default() };
    let id = import(&store, Cursor::new(gzip(&base())), request).unwrap();
    let shown = inspect::inspect(&store, &Naming::default(), "mine:1").unwrap();
    assert_eq!((shown.id, shown.repo_tags.as_slice()), (id, &["mine:1".to_owned()][..]));
    assert_eq!((shown.comment.as_str(), shown.size), ("by hand", base().len() as u64));
    let json = serde_json::to_value(&shown).unwrap();
    assert_eq!(json["RootFS"]["Layers"][0], Digest::of(&base()).to_string());
    assert!(import(&store, Cursor::new(b"not a tar at all".repeat(100)), Import::default()).is_err());
}

#[test]
fn names_win_over_ids_and_unknown_ones_are_named() {
    let (_root, store) = store();
    load_bytes(&store, &pack(&docker(&[(&["cafe"], &[base()]), (&["b"], &[top()])]))).unwrap();
    assert_eq!(
        catalog::find(&store, &Naming::default(), "cafe").unwrap().names[0].0,
        "docker.io/library/cafe:latest"
    );
    let id = catalog::find(&store, &Naming::default(), "b").unwrap().id;
    for wanted in [id.to_string(), id.hex(), id.hex()[..8].to_owned(), format!("sha256:{}", &id.hex()[..8])] {
        assert_eq!(catalog::find(&store, &Naming::default(), &wanted).unwrap().id, id, "{wanted}");
    }
    let error = catalog::find(&store, &Naming::default(), "no/such").unwrap_err();
    assert_eq!((error.to_string().as_str(), error.kind()), ("No such image: no/such:latest", Kind::NotFound));
    catalog::tag(&store, &Naming::default(), "b", &"c:2".parse().unwrap()).unwrap();
    assert_eq!(catalog::find(&store, &Naming::default(), "c:2").unwrap().id, id);
}

#[test]
fn a_container_keeps_its_image_through_a_forced_removal() {
    let (root, store) = store();
    let id = load_bytes(&store, &pack(&docker(&[(&["x"], &[base()])]))).unwrap()[0].id;
    let row = crate::store::ContainerRow::new("c", "c", id, Isolation::Vm, "{}".to_owned());
    store.db().add_container(&row).unwrap();
    assert_eq!(catalog::remove(&store, &Naming::default(), "x", false).unwrap_err().kind(), Kind::InUse);
    catalog::remove(&store, &Naming::default(), "x", true).unwrap();
    assert_eq!(catalog::resolve(&store, &Naming::default(), "x").unwrap_err().kind(), Kind::NotFound);
    let image = catalog::of_container(&store, &id).unwrap();
    assert_eq!(catalog::root_for(&store, &image).unwrap().layers.len(), 1);
    store.db().conclude("c", None, true, None).unwrap();
    crate::image::gc::collect(&store).unwrap();
    assert!(files(&root).is_empty());
}
