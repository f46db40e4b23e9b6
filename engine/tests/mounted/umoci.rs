//! The whole way: layout, load, mount, compare.

use std::os::unix::fs::MetadataExt;

use hull_engine::image::convert::Options;
use hull_engine::image::{Naming, Root, catalog, load};
use hull_engine::store::Store;

use crate::{image, may_mount, mounts, run, snapshot, store, text};

fn load_layout(store: &Store, layers: &[Vec<u8>]) -> (tempfile::TempDir, Root) {
    let layout = tempfile::tempdir().unwrap();
    image::write_layout(layout.path(), "test", layers);
    load::load(store, load::Input::Path(layout.path()), Options::default()).unwrap();
    let root =
        catalog::root_for(store, &catalog::resolve(store, &Naming::default(), "test").unwrap()).unwrap();
    (layout, root)
}

#[test]
fn a_merged_root_is_what_umoci_unpacks() {
    if !may_mount() {
        return;
    }
    let (scratch, store) = store();
    let (layout, root) = load_layout(&store, &image::layers());
    let bundle = scratch.path().join("bundle");
    run("umoci", &["unpack", "--image", &format!("{}:test", text(layout.path())), text(&bundle)]);
    let expected = snapshot::take(&bundle.join("rootfs"));

    let loops = mounts::on_loop_devices(&root);
    snapshot::assert_same(&expected, &snapshot::take(loops.path()), "on loop devices");
    let disk = mounts::on_one_disk(&root, scratch.path());
    snapshot::assert_same(&expected, &snapshot::take(disk.path()), "on one disk");
    if let Some(files) = mounts::on_files(&root) {
        snapshot::assert_same(&expected, &snapshot::take(files.path()), "on files");
    }

    let inode = |name: &str| disk.path().join(name).metadata().unwrap().ino();
    for names in [["etc/one", "usr/link-of-link"], ["usr/bin/setuid", "etc/renamed"]] {
        assert_eq!(inode(names[0]), inode(names[1]), "links across layers are one file");
    }
}

#[test]
fn layer_files_pass_fsck_and_mount_alone() {
    if !may_mount() {
        return;
    }
    let (_scratch, store) = store();
    load_layout(&store, &image::layers());
    let image = catalog::resolve(&store, &Naming::default(), "test").unwrap();
    for diff_id in &image.layers {
        let path = store.paths().layer(diff_id);
        run("fsck.erofs", &[text(&path)]);
        let mounted = mounts::alone(&path);
        assert!(!snapshot::take(mounted.path()).is_empty());
    }
}

#[test]
fn empty_images_and_empty_layers_mount() {
    if !may_mount() {
        return;
    }
    for layers in [vec![], vec![image::Layer::new().bytes()]] {
        let (scratch, store) = store();
        let (_layout, root) = load_layout(&store, &layers);
        assert!(root.layers.is_empty());
        let disk = mounts::on_one_disk(&root, scratch.path());
        assert_eq!(snapshot::take(disk.path()).len(), 1, "the root directory alone");
    }
}
