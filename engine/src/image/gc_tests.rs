use super::*;
use crate::image::import::{Import, import};
use crate::image::layer::tests::Archive;
use crate::image::{Naming, catalog};
use crate::sandbox::mode::Isolation;
use crate::store::db::images::LayerRow;

fn tar(content: &str) -> Vec<u8> {
    Archive::new().file("file", content.as_bytes()).bytes()
}

fn add(store: &Store, name: &str, content: &str) {
    let name = Some(name.parse().unwrap());
    import(store, tar(content).as_slice(), Import { name, ..Import::default() }).unwrap();
}

fn layer_files(store: &Store) -> usize {
    let files = fs::read_dir(store.paths().layers()).unwrap();
    files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "erofs")).count()
}

fn remove(store: &Store, name: &str) {
    catalog::remove(store, &Naming::default(), name, false).unwrap();
}

#[test]
fn what_is_removed_while_files_are_held_goes_when_they_are_let_go() {
    let (_folder, store) = Store::temporary();
    add(&store, "a", "a");
    let (first, second) = (hold(&store).unwrap(), hold(&store).unwrap());
    remove(&store, "a");
    assert_eq!(layer_files(&store), 1, "somebody may count on it");
    drop(first);
    assert_eq!(layer_files(&store), 1);
    drop(second);
    assert_eq!(layer_files(&store), 0);
    assert!(!is_owed(&store));
}

#[test]
fn a_layer_without_an_image_stays_while_its_pull_lives() {
    let (_folder, store) = Store::temporary();
    add(&store, "a", "a");
    let pulling = hold(&store).unwrap();
    let diff_id = Digest::of(b"pulled");
    let row = LayerRow { diff_id, bytes: 1, tar_bytes: 1, entries: 1 };
    store.db().add_layer(&row).unwrap();
    fs::write(store.paths().layer(&diff_id), "x").unwrap();
    remove(&store, "a");
    assert!(store.db().layer(&diff_id).unwrap().is_some() && store.paths().layer(&diff_id).exists());
    drop(pulling);
    assert!(store.db().layer(&diff_id).unwrap().is_none() && !store.paths().layer(&diff_id).exists());
}

#[test]
fn what_a_killed_holder_owed_the_next_one_pays() {
    let (_folder, store) = Store::temporary();
    add(&store, "a", "a");
    let row = store.db().images().unwrap().remove(0);
    store.db().remove_image(&row.id, false).unwrap().unwrap();
    owe(&store).unwrap();
    drop(hold(&store).unwrap());
    assert_eq!(layer_files(&store), 0);
}

/// Images that share their layer come and go in eight threads, each with a store of its own, as processes
/// have: a listed image is whole at any time, and nothing is left at the end.
#[test]
fn imports_and_removals_side_by_side_leave_whole_images_and_nothing_else() {
    let (folder, store) = Store::temporary();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let folder = folder.path();
            scope.spawn(move || {
                let store = Store::open(&folder.join("lib"), &folder.join("run")).unwrap();
                for round in 0..6 {
                    // Half of them share their layers.
                    let content =
                        if thread % 2 == 0 { "shared".to_owned() } else { format!("{thread} {round}") };
                    let name = format!("image{thread}");
                    add(&store, &name, &content);
                    let image = catalog::resolve(&store, &Naming::default(), &name).unwrap();
                    assert!(catalog::is_complete(&store, &image.id).unwrap());
                    catalog::root_for(&store, &image).unwrap();
                    remove(&store, &name);
                }
            });
        }
    });
    assert!(store.db().images().unwrap().is_empty());
    let paths = store.paths();
    for folder in [paths.layers(), paths.roots(), paths.blobs()] {
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{}", folder.display());
    }
    assert!(!is_owed(&store));
}

#[test]
fn a_container_made_beside_a_removal_has_its_image_or_is_not_made() {
    let (folder, store) = Store::temporary();
    for round in 0..20 {
        add(&store, "a", "a");
        let image = store.db().images().unwrap().remove(0).id;
        let id = format!("c{round}");
        let row = crate::store::ContainerRow::new(&id, &id, image, Isolation::Namespace, "{}".to_owned());
        let made = std::thread::scope(|scope| {
            let other = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
            let making = scope.spawn(move || other.db().add_container(&row).is_ok());
            let _ = catalog::remove(&store, &Naming::default(), "a", false);
            making.join().unwrap()
        });
        assert_eq!(layer_files(&store), usize::from(made));
        if made {
            store.db().conclude(&id, None, true, None).unwrap();
            remove(&store, "a");
        }
    }
}

#[test]
fn locks_of_killed_pulls_go_with_a_collection() {
    let (_folder, store) = Store::temporary();
    let left = store.paths().blob_lock(&Digest::of(b"blob"));
    fs::write(&left, "").unwrap();
    let held = hold(&store).unwrap();
    collect(&store).unwrap();
    assert!(left.exists(), "a pull may wait for it");
    drop(held);
    assert!(!left.exists());
}
