use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::write::GzEncoder;

use super::*;
use crate::image::import::{Import, import};
use crate::image::layer::tests::Archive;
use crate::image::spec::{Descriptor, media_type};
use crate::image::{convert, ingest};

fn tar() -> Vec<u8> {
    Archive::new().file("file", &[7; 5000]).bytes()
}

/// An image as a pull leaves it: its layer's blob is kept, and there is no recipe.
fn pulled(store: &Store) -> Kept {
    let _held = gc::hold(store).unwrap();
    let mut gz = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar()).unwrap();
    let options = convert::Options { keep: true, ..Default::default() };
    let converted = convert::convert(store, gz.finish().unwrap().as_slice(), options).unwrap();
    let (blob, bytes, diff_id) = (converted.blob, converted.blob_bytes, converted.diff_id());
    let config = serde_json::json!({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}});
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = Manifest {
        schema_version: 2,
        media_type: media_type::OCI_MANIFEST.to_owned(),
        config: Descriptor::new(media_type::OCI_CONFIG, Digest::of(&config), config.len() as u64),
        layers: vec![Descriptor::new("application/vnd.oci.image.layer.v1.tar+gzip", blob, bytes)],
    };
    let layer = ingest::Layer { row: converted.adopt(store).unwrap(), blob: Some((blob, bytes)) };
    let parsed = ingest::parse_config(&config, "config").unwrap();
    let parts = ingest::Parts {
        config,
        manifest: Some(serde_json::to_vec(&manifest).unwrap()),
        layers: vec![layer],
        names: vec!["pulled:1".parse().unwrap()],
        max_entries: u64::MAX,
    };
    let new = ingest::prepare(store, parts, &parsed).unwrap();
    store.db().add_images(&[new]).unwrap();
    store.db().inventory().unwrap().remove(0)
}

/// One whose layer has a recipe instead.
fn imported(store: &Store) -> Kept {
    let name = Some("imported:1".parse().unwrap());
    import(store, tar().as_slice(), Import { name, ..Import::default() }).unwrap();
    store.db().inventory().unwrap().remove(0)
}

fn damage(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn checked(store: &Store, repair: bool) -> Report {
    check(store, repair.then_some(&Settings::default()), &|_| ()).unwrap()
}

fn layer_blob(image: &Kept) -> Digest {
    let documents = [image.id, image.manifest];
    image.blobs.iter().map(|(digest, _)| *digest).find(|digest| !documents.contains(digest)).unwrap()
}

#[test]
fn whole_images_are_well() {
    let (_folder, store) = Store::temporary();
    pulled(&store);
    imported(&store);
    let report = checked(&store, false);
    assert_eq!(report.findings, []);
    // Both have the same layer, and one root.
    assert_eq!((report.images, report.blobs, report.layers, report.roots), (2, 5, 1, 1));
    assert!(report.is_well());
}

#[test]
fn a_damaged_layer_or_root_is_made_again() {
    let (_folder, store) = Store::temporary();
    let image = pulled(&store);
    let layer = store.paths().layer(&image.layers[0].diff_id);
    let root = store.paths().merged_root(&root::chain_id(&[image.layers[0].diff_id]));
    let whole = [fs::read(&layer).unwrap(), fs::read(&root).unwrap()];
    for offset in [1100, 4096 + 17] {
        damage(&layer, offset);
        let report = checked(&store, false);
        assert!(!report.is_well() && matches!(report.findings[0].part, Part::Layer(_)), "{report:?}");
        let report = checked(&store, true);
        assert_eq!(report.findings[0].outcome, Outcome::Repaired("made again".to_owned()), "{report:?}");
        assert_eq!(
            (report.findings[0].fault, &*report.findings[0].images),
            (DAMAGED, &["pulled:1".to_owned()][..])
        );
    }
    fs::remove_file(&layer).unwrap();
    damage(&root, 1030);
    let report = checked(&store, true);
    assert!(report.is_well() && report.findings.len() == 2, "{report:?}");
    assert_eq!([fs::read(&layer).unwrap(), fs::read(&root).unwrap()], whole);
    assert_eq!(checked(&store, false).findings, []);
}

#[test]
fn a_damaged_blob_that_no_registry_has_is_removed_and_told() {
    let (_folder, store) = Store::temporary();
    let image = pulled(&store);
    let blob = layer_blob(&image);
    damage(&store.paths().blob(&blob), 20);
    let report = checked(&store, true);
    assert!(!report.is_well());
    let [Finding { part, outcome: Outcome::Left(advice), .. }] = &*report.findings else {
        panic!("{report:?}")
    };
    assert_eq!(*part, Part::Blob(blob));
    assert!(advice.contains("no registry is known to have it"), "{advice}");
    assert!(!store.paths().blob(&blob).exists(), "the next pull brings in what is missing");
    assert!(!catalog::is_complete(&store, &image.id).unwrap());
}

#[test]
fn a_layer_with_a_recipe_is_checked_by_it() {
    let (_folder, store) = Store::temporary();
    let image = imported(&store);
    let row = &image.layers[0];
    let layer = store.paths().layer(&row.diff_id);
    let whole = fs::read(&layer).unwrap();
    // The file's identity is not in the tar.
    damage(&layer, 1024 + 48);
    let report = checked(&store, true);
    assert_eq!(report.findings[0].outcome, Outcome::Repaired("made again".to_owned()), "{report:?}");
    assert_eq!(fs::read(&layer).unwrap(), whole);
    // Data is.
    damage(&layer, 4096 + 17);
    assert!(!checked(&store, false).is_well());
    let report = checked(&store, true);
    assert!(matches!(report.findings[0].outcome, Outcome::Left(_)), "{report:?}");
    assert!(!layer.exists());
    imported(&store);
    assert!(checked(&store, false).is_well());
}

#[test]
fn a_layer_that_nothing_can_make_again_is_told_and_kept() {
    let (_folder, store) = Store::temporary();
    let image = imported(&store);
    fs::remove_file(store.paths().recipe(&image.layers[0].diff_id)).unwrap();
    let report = checked(&store, true);
    assert!(report.is_well() && matches!(report.findings[0].outcome, Outcome::Unknown(_)), "{report:?}");
    assert!(store.paths().layer(&image.layers[0].diff_id).exists());
}

#[test]
fn a_check_goes_on_where_a_layer_cannot_be_read() {
    let (_folder, store) = Store::temporary();
    let image = pulled(&store);
    // Neither the blob nor the layer is whole: nothing tells that the layer is not.
    damage(&store.paths().blob(&layer_blob(&image)), 20);
    let layer = store.paths().layer(&image.layers[0].diff_id);
    fs::remove_file(&layer).unwrap();
    fs::write(&layer, [0; 8192]).unwrap();
    let report = checked(&store, true);
    assert!(!report.is_well() && report.roots == 1, "{report:?}");
    assert!(matches!(report.findings.last().unwrap().part, Part::Root(_)), "{report:?}");
}
