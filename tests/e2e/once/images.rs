//! `load`, `images`, `rmi`, `image inspect`.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use hull_tests::{
    Store,
    archive::{Archive, Tar},
    paths, unique,
};

fn inspect(store: &Store, image: &str) -> Value {
    let text = store.hull(["image", "inspect", image]).output().text();
    let Value::Array(mut all) = serde_json::from_str(&text).unwrap() else { panic!("not a list: {text}") };
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0)
}

fn shell(line: &str, arguments: &[&std::path::Path]) {
    let status = Command::new("sh").arg("-ec").arg(line).arg("sh").args(arguments).status().unwrap();
    assert!(status.success(), "{line}");
}

#[test]
fn loaded_archive_is_listed_inspected_run_and_removed() {
    let store = Store::new();
    let output = store.load(&paths::image("busybox.tar")).exits(0);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Loaded image: busybox:latest\n");

    let table = store.hull(["images"]).output().text();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..2], ["busybox", "latest"], "{table}");
    let image = inspect(&store, "busybox");
    assert_eq!(image["RepoTags"], json!(["busybox:latest"]));
    assert_eq!(image["Architecture"], "amd64");
    assert_eq!(image["Config"]["Cmd"], json!(["sh"]));
    let id = image["Id"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    assert!(id.starts_with(row[2]), "{table}");

    assert_eq!(store.run(["busybox", "echo", "hi"]).output().text(), "hi");
    assert_eq!(store.run(["busybox:latest", "echo", "hi"]).output().text(), "hi");
    assert_eq!(store.run([&id[..8], "echo", "hi"]).output().text(), "hi");

    let output = store.hull(["rmi", "busybox"]).output().text();
    assert!(output.contains("Untagged: busybox:latest"), "{output}");
    assert_eq!(store.hull(["images", "-q"]).output().text(), "");
    let line = store.run(["busybox", "true"]).output().fails(125);
    assert!(line.contains("busybox"), "{line}");
    let left: Vec<_> = ["blobs/sha256", "layers/v1/sha256", "roots/v1/sha256"]
        .iter()
        .flat_map(|folder| fs::read_dir(store.root.join(folder)).unwrap())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn image_without_a_local_name_says_so() {
    let store = Store::new();
    for name in ["nosuch", "nosuch:tag", "sha256:0000"] {
        let line = store.run([name, "true"]).output().fails(125);
        assert!(line.contains(name), "{line}");
        let line = store.hull(["image", "inspect", name]).output().exits(1);
        assert!(line.stderr.contains(name), "{}", line.stderr);
        let line = store.hull(["rmi", name]).output().fails(1);
        assert!(line.contains(name), "{line}");
    }
    let line = store.run(["Not/A*Reference", "true"]).output().fails(125);
    assert!(line.contains("Not/A*Reference"), "{line}");
}

#[test]
fn archive_is_taken_in_every_form() {
    let store = Store::new();
    let tar = paths::image("busybox.tar");
    let folder = store.scratch.join("folder");
    fs::create_dir_all(&folder).unwrap();
    shell(
        "tar -C \"$1\" -xf \"$2\"; gzip < \"$2\" > \"$1.gz\"; zstd -q < \"$2\" > \"$1.zst\"",
        &[&folder, &tar],
    );
    let mut ids = Vec::new();
    for form in [tar.clone(), folder.clone(), folder.with_extension("gz"), folder.with_extension("zst")] {
        store.load(&form).exits(0);
        ids.push(store.hull(["images", "-q"]).output().text());
    }
    store.hull(["load", "-q"]).stdin(fs::read(folder.with_extension("gz")).unwrap()).output().exits(0);
    ids.push(store.hull(["images", "-q"]).output().text());
    ids.dedup();
    assert_eq!(ids.len(), 1, "the same image each time: {ids:?}");
    assert_eq!(store.run(["busybox", "echo", "hi"]).output().text(), "hi");
}

#[test]
fn oci_layout_is_taken_as_folder_and_as_archive() {
    let layout = paths::image("layers");
    let store = Store::new();
    store.load(&layout).exits(0);
    assert_eq!(store.run(["layers", "cat", "changed"]).output().text(), "changed twice");

    let store = Store::new();
    let tar = store.scratch.join("layout.tar");
    shell("tar -C \"$1\" -cf \"$2\" .", &[&layout, &tar]);
    store.hull(["load"]).stdin(fs::read(&tar).unwrap()).output().exits(0);
    assert_eq!(store.run(["layers", "cat", "changed"]).output().text(), "changed twice");
}

#[test]
fn image_used_by_a_container_is_not_removed_without_force() {
    let store = Store::with_busybox();
    let name = unique("user");
    store.keep(["--name", &name, "busybox", "true"]).output().exits(0);
    let line = store.hull(["rmi", "busybox"]).output().fails(1);
    assert!(line.contains("busybox"), "{line}");
    assert_eq!(store.run(["busybox", "echo", "still"]).output().text(), "still");
    store.hull(["rmi", "-f", "busybox"]).output().exits(0);
    store.hull(["rm", &name]).output().exits(0);
    assert_eq!(store.hull(["images", "-q"]).output().text(), "");
}

#[test]
fn image_used_by_a_running_container_stays_even_with_force() {
    let store = Store::with_busybox();
    let mut running = store.run(["-i", "busybox", "sh", "-c", "echo ready; read x; ls /bin/true"]).spawn();
    running.stdout.expect("ready");
    let id = store.hull(["images", "-q"]).output().text();
    let line = store.hull(["rmi", "-f", &id]).output().fails(1);
    assert!(line.contains("(cannot be forced)"), "{line}");
    assert_eq!(store.hull(["rmi", "-f", "busybox"]).output().text(), "Untagged: busybox:latest");
    assert_eq!(store.hull(["images", "-q"]).output().text(), id, "without a name");
    drop(running.stdin.take());
    running.stdout.expect("/bin/true");
    running.finish().exits(0);
    store.hull(["rmi", &id]).output().exits(0);
}

#[test]
fn images_share_layers_and_keep_them_while_one_needs_them() {
    let store = Store::with_busybox();
    let image = Archive::on_busybox("second:1").layer(Tar::new().file("two", b"2\n").bytes());
    store.load_archive(&image).exits(0);
    let layers = || {
        let files = fs::read_dir(store.root.join("layers/v1/sha256")).unwrap();
        // A recipe lies beside a layer that came without a compressed blob.
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|it| it == "erofs")).count()
    };
    assert_eq!(layers(), 2);
    store.hull(["rmi", "busybox"]).output().exits(0);
    assert_eq!(layers(), 2);
    assert_eq!(store.run(["second:1", "cat", "/two"]).output().text(), "2");
    store.hull(["rmi", "second:1"]).output().exits(0);
    assert_eq!(layers(), 0);
}

#[test]
fn tag_that_moves_leaves_the_old_image_without_one() {
    let store = Store::new();
    store
        .load_archive(&Archive::on_busybox("moving:1").config(json!({"Cmd": ["/bin/echo", "old"]})))
        .exits(0);
    let old = store.hull(["images", "-q"]).output().text();
    store
        .load_archive(&Archive::on_busybox("moving:1").config(json!({"Cmd": ["/bin/echo", "new"]})))
        .exits(0);
    assert_eq!(store.run(["moving:1"]).output().text(), "new");
    assert_eq!(store.run([&old]).output().text(), "old");
    let table = store.hull(["images"]).output().text();
    assert!(table.contains("<none>"), "{table}");
}

#[test]
fn prefix_of_an_id_that_fits_two_images_is_refused() {
    let store = Store::new();
    // Seventeen ids must share a first digit.
    for n in 0..17 {
        store
            .load_archive(&Archive::on_busybox(&format!("many:{n}")).config(json!({"Cmd": [n.to_string()]})))
            .exits(0);
    }
    let ids = store.hull(["images", "-q"]).output().text();
    let digit =
        "0123456789abcdef".chars().find(|d| ids.lines().filter(|id| id.starts_with(*d)).count() > 1).unwrap();
    store.hull(["image", "inspect", &digit.to_string()]).output().exits(1);
    assert_eq!(ids.lines().count(), 17);
}

#[test]
fn image_ls_and_rm_are_images_and_rmi() {
    let store = Store::with_busybox();
    // Ids only: an age goes on meanwhile.
    assert_eq!(
        store.hull(["image", "ls", "-q"]).output().text(),
        store.hull(["images", "-q"]).output().text()
    );
    store.hull(["image", "rm", "busybox"]).output().exits(0);
    assert_eq!(store.hull(["images", "-q"]).output().text(), "");
}

#[test]
fn two_loads_at_once_both_succeed() {
    let store = Store::new();
    let path = paths::image("busybox.tar");
    let load = || store.hull(["load".as_ref(), "-i".as_ref(), path.as_os_str()]).spawn();
    let both = [load(), load()];
    for running in both {
        running.finish().exits(0);
    }
    assert_eq!(store.hull(["images", "-q"]).output().text().lines().count(), 1);
    assert_eq!(store.run(["busybox", "echo", "hi"]).output().text(), "hi");
}
