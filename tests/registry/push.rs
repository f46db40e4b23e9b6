//! `push`, to docker-registry.

use std::process::Command;

use hull_tests::{Registry, Store};

fn stdout(output: hull_tests::Output) -> String {
    String::from_utf8(output.exits(0).stdout).unwrap()
}

fn id(store: &Store, name: &str) -> String {
    store.hull(["image", "inspect", "-f", "{{.Id}}", name]).output().text()
}

/// The digest that a push told.
fn digest(told: &str) -> String {
    let line = told.lines().last().unwrap();
    line.split(' ').nth(2).unwrap_or_else(|| panic!("{told}")).to_owned()
}

#[test]
fn what_was_pulled_is_pushed_byte_for_byte() {
    let (from, to, store) = (Registry::start(), Registry::start(), Store::new());
    from.add_layers("some/layers:latest");
    store.hull(["pull", "-q", &from.name("some/layers")]).output().exits(0);
    let name = to.name("some/where/layers:1");
    store.hull(["tag", &from.name("some/layers"), &name]).output().exits(0);
    let told = stdout(store.hull(["push", &name]).output());
    let repository = to.name("some/where/layers");
    assert!(told.starts_with(&format!("The push refers to repository [{repository}]\n")), "{told}");
    assert_eq!(told.lines().filter(|line| line.ends_with(": Pushed")).count(), 7, "{told}");
    let expected = from.digest("some/layers", "latest");
    assert_eq!(to.digest("some/where/layers", "1"), expected);
    assert!(told.lines().last().unwrap().starts_with(&format!("1: digest: {expected} size: ")), "{told}");
    // The digest is a name of it from then on, as with docker.
    let by_digest = format!("{repository}@{expected}");
    assert_eq!(id(&store, &by_digest), id(&store, &name));
}

#[test]
fn plain_layers_are_compressed_once_and_come_back_the_same() {
    let (registry, store) = (Registry::start(), Store::with_busybox());
    let name = registry.name("app");
    store.hull(["tag", "busybox", &name]).output().exits(0);
    let told = stdout(store.hull(["push", &name]).output());
    assert!(told.starts_with("Using default tag: latest\n"), "{told}");
    let first = digest(&told);
    let manifest = registry.manifest("app", "latest");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    registry.requests();
    let told = stdout(store.hull(["push", &name]).output());
    assert!(told.contains(": Layer already exists\n"), "{told}");
    assert_eq!(digest(&told), first);
    assert!(registry.requests().iter().all(|request| !request.starts_with("POST")), "nothing is sent again");

    let other = Store::new();
    other.hull(["pull", "-q", &name]).output().exits(0);
    assert_eq!(id(&other, &name), id(&store, "busybox"));
    let scratch = format!("dir:{}", store.scratch.join("copy").display());
    let source = format!("docker://{name}");
    let skopeo = ["copy", "-q", "--src-tls-verify=false", &source, &scratch];
    assert!(Command::new("skopeo").args(skopeo).status().unwrap().success());
}

#[test]
fn layers_are_mounted_from_where_they_are_known_to_be() {
    let (registry, store) = (Registry::start(), Store::with_busybox());
    let (first, second) = (registry.name("first"), registry.name("second"));
    store.hull(["tag", "busybox", &first]).output().exits(0);
    store.hull(["push", "-q", &first]).output().exits(0);
    store.hull(["tag", "busybox", &second]).output().exits(0);
    registry.requests();
    let told = stdout(store.hull(["push", &second]).output());
    assert!(told.contains(": Mounted from first\n"), "{told}");
    assert!(registry.requests().iter().any(|request| request.contains("mount=sha256")));
    assert_eq!(registry.digest("first", "latest"), registry.digest("second", "latest"));
}

#[test]
fn all_tags_are_pushed_and_missing_ones_are_named() {
    let (registry, store) = (Registry::start(), Store::with_busybox());
    let name = registry.name("app");
    let line = store.hull(["push", &name]).output().fails(1);
    assert!(line.contains(&format!("An image does not exist locally with the tag: {name}")), "{line}");
    for tag in ["one", "two"] {
        store.hull(["tag", "busybox", &format!("{name}:{tag}")]).output().exits(0);
    }
    let line = store.hull(["push", "-q", &name]).output().fails(1);
    assert!(line.contains(&format!("tag does not exist: {name}:latest")), "{line}");
    let line = store.hull(["push", "-a", &format!("{name}:one")]).output().fails(1);
    assert!(line.contains("tag can't be used with --all-tags/-a"), "{line}");
    assert_eq!(stdout(store.hull(["push", "-q", "-a", &name]).output()), format!("{name}\n"));
    assert_eq!(registry.digest("app", "one"), registry.digest("app", "two"));
    let by_digest = format!("{name}@{}", registry.digest("app", "one"));
    let line = store.hull(["push", &by_digest]).output().fails(1);
    assert!(line.contains("cannot push a digest reference"), "{line}");
}
