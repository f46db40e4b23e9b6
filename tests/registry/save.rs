//! `save`: what other programs make of it, and what comes back from them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hull_tests::{Dockerd, Registry, Store};

/// Names of the images below, and from where they come: a docker archive's plain layer, and a registry's
/// compressed one.
const PLAIN: &str = "busybox:latest";

/// A store with both kinds, and the name of the second.
fn filled() -> (Store, String) {
    let (registry, store) = (Registry::start(), Store::with_busybox());
    // Other layers than the first's: its tar is packed by another hand.
    let name = registry.name("team/packed:v1");
    let folder = store.scratch.join("packed");
    std::fs::create_dir_all(folder.join("etc")).unwrap();
    std::fs::write(folder.join("etc/packed"), "packed").unwrap();
    let tar = store.scratch.join("packed.tar");
    let made = Command::new("tar").args(["-cf"]).arg(&tar).arg("-C").arg(&folder).arg(".").status();
    assert!(made.unwrap().success());
    store.hull(["import", tar.to_str().unwrap(), &name]).output().exits(0);
    store.hull(["push", "-q", &name]).output().exits(0);
    store.hull(["rmi", &name]).output().exits(0);
    store.hull(["pull", "-q", &name]).output().exits(0);
    (store, name)
}

fn id(store: &Store, name: &str) -> String {
    store.hull(["image", "inspect", "-f", "{{.Id}}", name]).output().text()
}

fn saved(store: &Store, images: &[&str]) -> PathBuf {
    let path = store.scratch.join(format!("saved-{}.tar", images.len()));
    store.hull(["save", "-o", path.to_str().unwrap()].iter().chain(images)).output().exits(0);
    path
}

/// Runs a program to its end; what it wrote.
fn told(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Loads an archive into another store, where the images must be the same.
fn comes_back(archive: &Path, from: &Store, names: &[(&str, &str)]) {
    let store = Store::new();
    store.load(archive).exits(0);
    for (before, after) in names {
        assert_eq!(id(&store, after), id(from, before), "{before}");
    }
}

#[test]
fn an_archive_loads_again_and_is_the_same_each_time() {
    let (store, packed) = filled();
    let archive = saved(&store, &[PLAIN, &packed]);
    comes_back(&archive, &store, &[(PLAIN, PLAIN), (&packed, &packed)]);
    let piped = store.hull(["save", PLAIN, &packed]).output().exits(0).stdout;
    assert!(piped == std::fs::read(&archive).unwrap());
    let other = Store::new();
    other.hull(["load"]).stdin(piped.clone()).output().exits(0);
    assert!(other.hull(["save", PLAIN, &packed]).output().exits(0).stdout == piped);
}

#[test]
fn skopeo_reads_it_as_docker_archive_and_as_layout() {
    let (store, packed) = filled();
    let both = saved(&store, &[PLAIN, &packed]);
    for name in [PLAIN, &packed] {
        let one = saved(&store, &[name]);
        let config = |source: String| {
            let config = told(Command::new("skopeo").args(["inspect", "--config", "--raw", &source]));
            hull_engine::image::Digest::of(config.as_bytes()).to_string()
        };
        for source in [
            format!("docker-archive:{}:{name}", both.display()),
            format!("docker-archive:{}", one.display()),
            format!("oci-archive:{}", one.display()),
        ] {
            assert_eq!(config(source.clone()), id(&store, name), "{source}");
            // Every layer is read and checked.
            let target = format!("dir:{}", store.scratch.join("copy").display());
            told(Command::new("skopeo").args(["copy", "-q", &source, &target]));
        }
    }
}

#[test]
fn podman_loads_it_and_what_it_saves_is_the_same_image() {
    let (store, packed) = filled();
    // podman takes a path of 50 characters at the most.
    let run = tempfile::tempdir_in("/tmp").unwrap();
    let podman = |words: &[&str]| {
        let mut command = Command::new("podman");
        command.arg("--root").arg(store.scratch.join("podman")).arg("--runroot").arg(run.path());
        command.args(["--storage-driver", "vfs"]);
        told(command.args(words))
    };
    podman(&["load", "-q", "-i", saved(&store, &[PLAIN, &packed]).to_str().unwrap()]);
    let back = store.scratch.join("back.tar");
    let local = format!("localhost/{PLAIN}");
    podman(&["save", "-q", "-m", "-o", back.to_str().unwrap(), &local, &packed]);
    comes_back(&back, &store, &[(PLAIN, &local), (&packed, &packed)]);
}

#[test]
fn docker_loads_it_and_what_it_saves_is_the_same_image() {
    let (store, packed) = filled();
    let docker = Dockerd::start();
    let loaded = docker.told(&["load", "-i", saved(&store, &[PLAIN, &packed]).to_str().unwrap()]);
    for name in [PLAIN, &packed] {
        assert!(loaded.contains(&format!("Loaded image: {name}\n")), "{loaded}");
        assert_eq!(docker.told(&["image", "inspect", "-f", "{{.Id}}", name]).trim(), id(&store, name));
    }
    let back = store.scratch.join("back.tar");
    docker.told(&["save", "-o", back.to_str().unwrap(), PLAIN, &packed]);
    comes_back(&back, &store, &[(PLAIN, PLAIN), (&packed, &packed)]);
}

#[test]
fn what_cannot_be_saved_leaves_no_file() {
    let store = Store::with_busybox();
    let path = store.scratch.join("out.tar");
    let target = path.to_str().unwrap();
    let line = store.hull(["save", "-o", target, PLAIN, "nothing"]).output().fails(1);
    assert!(line.contains("No such image: nothing"), "{line}");
    // A recipe that is gone is found out while the archive is being written.
    let recipes = std::fs::read_dir(store.root.join("layers/v1/sha256")).unwrap();
    for recipe in
        recipes.map(|entry| entry.unwrap().path()).filter(|path| path.extension().unwrap() == "recipe")
    {
        std::fs::remove_file(recipe).unwrap();
    }
    let line = store.hull(["save", "-o", target, PLAIN]).output().fails(1);
    assert!(line.contains("load or import its archive once more"), "{line}");
    let mut left = std::fs::read_dir(&store.scratch).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.all(|name| !name.to_string_lossy().contains("out.tar")));
    store.load(&hull_tests::paths::image("busybox.tar")).exits(0);
    store.hull(["save", "-o", target, PLAIN]).output().exits(0);
}
