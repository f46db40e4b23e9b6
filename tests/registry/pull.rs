//! `pull`, by itself and by `run`, from docker-registry.

use std::fs;

use hull_tests::registry::{blobs, names};
use hull_tests::{Proxy, Registry, Store, Terminal};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::signal::Signal;

/// The layers of the image that has some.
const LAYERS: usize = 7;

fn stdout(output: hull_tests::Output) -> String {
    String::from_utf8(output.exits(0).stdout).unwrap()
}

fn fetched(requests: &[String], of: &str) -> usize {
    requests.iter().filter(|request| request.starts_with("GET ") && request.contains(of)).count()
}

#[test]
fn a_tag_is_pulled_and_told_as_docker_does() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_busybox("some/busybox:latest");
    let name = registry.name("some/busybox");
    let manifest = registry.manifest("some/busybox", "latest");
    let layer = &manifest["layers"][0]["digest"].as_str().unwrap()["sha256:".len()..][..12];
    let digest = registry.digest("some/busybox", "latest");
    let told = stdout(store.hull(["pull", &name]).output());
    assert_eq!(
        told,
        format!(
            "Using default tag: latest\nlatest: Pulling from some/busybox\n{layer}: Pulling fs layer\n\
             {layer}: Pull complete\nDigest: {digest}\nStatus: Downloaded newer image for {name}:latest\n\
             {name}:latest\n"
        )
    );
    assert_eq!(store.run([name.as_str(), "echo", "hi"]).output().text(), "hi");
    let by_digest = format!("{name}@{digest}");
    assert_eq!(store.run([by_digest.as_str(), "echo", "hi"]).output().text(), "hi");
    assert_eq!(names(&store.root.join("locks")), [] as [&str; 0]);
}

#[test]
fn what_is_up_to_date_costs_one_request_and_a_digest_none() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_busybox("busybox:latest");
    let name = registry.name("busybox");
    store.hull(["pull", &name]).output().exits(0);
    let digest = registry.digest("busybox", "latest");
    registry.requests();
    let told = stdout(store.hull(["pull", &name]).output());
    assert!(told.contains(&format!("Status: Image is up to date for {name}:latest\n")), "{told}");
    assert_eq!(registry.requests(), ["HEAD /v2/busybox/manifests/latest"]);

    let by_digest = format!("{name}@{digest}");
    assert_eq!(stdout(store.hull(["pull", "-q", &by_digest]).output()), format!("{by_digest}\n"));
    assert_eq!(registry.requests(), [] as [&str; 0]);
}

#[test]
fn a_tag_that_moved_is_pulled_anew_and_shares_layers() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_busybox("app:latest");
    let name = registry.name("app");
    store.hull(["pull", &name]).output().exits(0);
    let old = registry.digest("app", "latest");
    registry.add_layers("app:latest");
    registry.requests();
    let told = stdout(store.hull(["pull", &name]).output());
    assert!(told.contains("Status: Downloaded newer image"), "{told}");
    assert_ne!(registry.digest("app", "latest"), old);
    // The old one is still what its digest names.
    let by_digest = format!("{name}@{old}");
    assert_eq!(store.run([by_digest.as_str(), "echo", "old"]).output().text(), "old");
}

#[test]
fn quiet_pulls_print_the_name_alone_and_all_tags_come() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_busybox("app:one");
    registry.add_layers("app:two");
    let name = registry.name("app");
    assert_eq!(stdout(store.hull(["pull", "-q", &format!("{name}:one")]).output()), format!("{name}:one\n"));
    let told = stdout(store.hull(["pull", "--all-tags", &name]).output());
    for line in [
        "one: Pulling from app".to_owned(),
        "two: Pulling from app".to_owned(),
        format!("Status: Image is up to date for {name}:one"),
        format!("Status: Downloaded newer image for {name}:two"),
    ] {
        assert!(told.lines().any(|l| l == line), "{line}: {told}");
    }
    assert!(told.ends_with(&format!("\n{name}\n")), "{told}");
    let line = store.hull(["pull", "-a", &format!("{name}:one")]).output().fails(1);
    assert!(line.contains("takes none"), "{line}");
}

#[test]
fn layers_are_pulled_once_and_the_image_is_whole() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_layers("layers:latest");
    registry.requests();
    store.hull(["pull", &registry.name("layers")]).output().exits(0);
    let requests = registry.requests();
    // Every layer and the config.
    assert_eq!(blobs(&requests).len(), LAYERS + 1, "{requests:#?}");
    assert_eq!(fetched(&requests, "/manifests/"), 1, "{requests:#?}");
    // Manifest, config and layers are kept byte for byte.
    let manifest = registry.manifest("layers", "latest");
    for layer in manifest["layers"].as_array().unwrap() {
        let hex = &layer["digest"].as_str().unwrap()["sha256:".len()..];
        let kept = store.root.join("blobs/sha256").join(hex);
        assert_eq!(fs::metadata(kept).unwrap().len(), layer["size"].as_u64().unwrap());
    }
    assert_eq!(
        store.run([&registry.name("layers"), "cat", "/data/changed"]).output().text(),
        "changed twice"
    );
}

#[test]
fn what_a_load_brought_is_not_converted_again() {
    let (registry, store) = (Registry::start(), Store::with_busybox());
    registry.add_busybox("busybox:latest");
    let layers = names(&store.root.join("layers/v1/sha256"));
    let told = stdout(store.hull(["pull", &registry.name("busybox")]).output());
    assert!(told.contains("Pull complete"), "the blob itself was not here: {told}");
    assert_eq!(names(&store.root.join("layers/v1/sha256")), layers);
    let layer = registry.manifest("busybox", "latest")["layers"][0]["digest"].as_str().unwrap().to_owned();
    assert!(store.root.join("blobs/sha256").join(&layer["sha256:".len()..]).exists());
}

#[test]
fn run_and_create_pull_as_they_are_told() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_busybox("busybox:latest");
    let name = registry.name("busybox");
    let line = store.hull(["run", "--rm", "--pull", "never", &name, "true"]).output().fails(125);
    assert!(line.contains("hull pull"), "{line}");
    assert_eq!(
        registry
            .requests()
            .iter()
            .filter(|r| r.contains("HULL") || r.starts_with("HEAD /v2/busybox/manifests"))
            .count(),
        0
    );

    let run = |options: &[&str]| {
        let words = ["run", "--rm", "--isolation", "namespace"].iter().chain(options);
        store.hull(words.copied().chain([name.as_str(), "echo", "hi"])).output().exits(0)
    };
    let output = run(&[]);
    assert_eq!(output.stdout, b"hi\n");
    let told = &output.stderr;
    assert!(
        told.starts_with(&format!(
            "Unable to find image '{name}:latest' locally\nlatest: Pulling from busybox\n"
        )),
        "{told}"
    );
    assert!(told.ends_with(&format!("Status: Downloaded newer image for {name}:latest\n")), "{told}");

    registry.requests();
    assert_eq!(run(&[]).stderr, "");
    assert_eq!(registry.requests(), [] as [&str; 0]);
    let told = run(&["--pull", "always"]).stderr;
    assert!(told.contains("Status: Image is up to date"), "{told}");
    assert_eq!(registry.requests(), ["HEAD /v2/busybox/manifests/latest"]);
    assert_eq!(run(&["--pull=always", "-q"]).stderr, "");

    store.hull(["rmi", "-f", &name]).output().exits(0);
    let output = store.hull(["create", "-q", "--isolation", "namespace", &name, "true"]).output().exits(0);
    assert_eq!((output.stdout.len(), output.stderr.as_str()), (65, ""));
}

#[test]
fn what_is_not_there_is_said_with_docker_s_exit_codes() {
    let (registry, store) = (Registry::start(), Store::new());
    let name = registry.name("no/such");
    let line = store.hull(["pull", "-q", &name]).output().fails(1);
    assert!(line.contains(&format!("Failed to pull {name}:latest")), "{line}");
    let output = store.hull(["run", "--rm", &name, "true"]).output().exits(125);
    assert!(
        output.stderr.contains(&format!("Unable to find image '{name}:latest' locally")),
        "{}",
        output.stderr
    );
    store.hull(["pull", "UPPER"]).output().fails(1);
    store.hull(["pull", "--platform", "linux", &name]).output().fails(1);
    assert_eq!(names(&store.root.join("blobs/sha256")), [] as [&str; 0]);
}

#[test]
fn a_blob_that_was_altered_is_refused_and_nothing_is_left() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_busybox("busybox:latest");
    let manifest = registry.manifest("busybox", "latest");
    let before = store.state();
    for descriptor in [&manifest["layers"][0], &manifest["config"]] {
        let file = registry.blob_file(&descriptor["digest"].as_str().unwrap().parse().unwrap());
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        fs::write(&file, &bad).unwrap();
        let output = store.hull(["pull", &registry.name("busybox")]).output().exits(1);
        assert!(output.stderr.contains("hull: Failed to pull"), "{}", output.stderr);
        assert_eq!(store.state(), before);
        fs::write(&file, good).unwrap();
    }
    store.hull(["pull", &registry.name("busybox")]).output().exits(0);
}

#[test]
fn two_pulls_at_once_share_the_work() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_layers("layers:latest");
    registry.requests();
    let proxy = Proxy::to(&registry.address);
    let name = format!("{}/layers", proxy.address);
    // Somewhere in the first layer, of a megabyte.
    proxy.hold_after(100_000);
    let first = store.hull(["pull", &name]).spawn();
    proxy.wait_until_held();
    let direct = registry.name("layers");
    let mut second = store.hull(["pull", &direct]).spawn();
    second.stdout.expect("Pulling fs layer");
    proxy.open();
    let (first, second) = (first.finish(), second.finish());
    assert!(String::from_utf8_lossy(&first.stdout).contains("Downloaded newer"), "{}", first.report("first"));
    let second = stdout(second);
    assert!(second.contains("Downloaded newer image"), "{second}");
    let requests = registry.requests();
    let layers = registry.manifest("layers", "latest")["layers"].as_array().unwrap().clone();
    for layer in layers {
        assert_eq!(fetched(&requests, layer["digest"].as_str().unwrap()), 1, "{requests:#?}");
    }
}

#[test]
fn a_killed_pull_leaves_nothing_visible_and_what_is_finished_counts() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_layers("layers:latest");
    let proxy = Proxy::to(&registry.address);
    let name = format!("{}/layers", proxy.address);
    // The small layers come beside the first, of a megabyte, which is held back.
    proxy.hold_after(100_000);
    let mut pull = store.hull(["pull", &name]).spawn();
    proxy.wait_until_held();
    pull.stdout.expect("Pull complete");
    pull.signal(Signal::SIGKILL);
    drop(pull);
    proxy.open();
    assert_eq!(store.hull(["images", "-q"]).output().text(), "");
    registry.requests();
    let told = stdout(store.hull(["pull", &name]).output());
    assert!(told.contains("Already exists"), "{told}");
    let requests = registry.requests();
    // What the killed pull asked for is answered, and logged, when the proxy lets it through.
    let own = requests.iter().position(|request| request.contains("/manifests/")).unwrap_or(0);
    let requests = &requests[own..];
    assert!(blobs(requests).len() < LAYERS + 1, "{requests:#?}");
    assert_eq!(names(&store.root.join("tmp")), [] as [&str; 0]);
    assert_eq!(store.run([name.as_str(), "cat", "/data/changed"]).output().text(), "changed twice");
}

#[test]
fn a_registry_that_goes_away_in_the_middle_is_said() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_busybox("busybox:latest");
    let proxy = Proxy::to(&registry.address);
    let name = format!("{}/busybox", proxy.address);
    proxy.hold_after(50_000);
    let pull = store.hull(["pull", &name]).spawn();
    proxy.wait_until_held();
    proxy.cut();
    let output = pull.finish().exits(1);
    assert!(output.stderr.contains("Failed to pull"), "{}", output.stderr);
    assert_eq!(store.hull(["images", "-q"]).output().text(), "");
    proxy.open();
    store.hull(["pull", &name]).output().exits(0);
}

#[test]
fn a_terminal_sees_a_line_a_layer() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_layers("layers:latest");
    let name = registry.name("layers");
    let mut terminal = Terminal::start(store.hull(["pull", &name]), 100, 30);
    terminal.expect("Pull complete");
    terminal.expect("Status: Downloaded newer image");
    assert_eq!(terminal.finish(), 0);
}

/// A small file system in memory under a store.
struct Small(Store);

impl Small {
    fn new() -> Small {
        let store = Store::new();
        fs::create_dir_all(&store.root).unwrap();
        remount(&store, MsFlags::empty(), "size=8g");
        Small(store)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        umount(&self.0.root).unwrap();
    }
}

fn remount(store: &Store, flags: MsFlags, options: &str) {
    mount(Some("hull-small"), &store.root, Some("tmpfs"), flags, Some(options)).unwrap();
}

#[test]
fn a_full_disk_is_told_and_leaves_no_half_of_anything() {
    let (registry, small) = (Registry::start(), Small::new());
    registry.add_layers("layers:latest");
    let (store, name) = (&small.0, registry.name("layers"));
    let before = store.state();
    let filler = store.root.join("filler");
    // Some space is left free in any case; then there is none at all, to the last page.
    for (size, filled) in [("size=257m", 0), ("size=16m", 32 << 20)] {
        remount(store, MsFlags::MS_REMOUNT, size);
        let _ = fs::write(&filler, vec![0_u8; filled]);
        let output = store.hull(["pull", "-q", &name]).output();
        fs::remove_file(&filler).unwrap();
        remount(store, MsFlags::MS_REMOUNT, "size=8g");
        let line = output.fails(1);
        assert!(line.contains("full") || line.contains("No space left"), "{line}");
        assert_eq!(store.hull(["images", "-q"]).output().text(), "");
        assert_eq!(names(&store.root.join("tmp")), [] as [&str; 0]);
    }
    // What was finished waits for the next try, and a collection takes it.
    store.hull(["pull", "-q", &name]).output().exits(0);
    assert_eq!(store.run([name.as_str(), "cat", "/data/changed"]).output().text(), "changed twice");
    let id = store.hull(["images", "-q"]).output().text().lines().next().unwrap().to_owned();
    store.hull(["rmi", "-f", &id]).output().exits(0);
    assert_eq!(store.state(), before);
}

#[test]
fn finished_layers_of_a_failed_pull_wait_for_the_next_until_they_are_collected() {
    let (registry, store) = (Registry::start(), Store::with_busybox());
    registry.add_layers("layers:latest");
    let last =
        registry.manifest("layers", "latest")["layers"][6]["digest"].as_str().unwrap().parse().unwrap();
    fs::write(registry.blob_file(&last), b"altered").unwrap();
    let before = store.state();
    store.hull(["pull", "-q", &registry.name("layers")]).output().exits(1);
    assert_ne!(names(&store.root.join("layers/v1/sha256")).len(), 1, "nothing was finished");
    // Every load ends with a collection.
    store.load(&hull_tests::paths::image("busybox.tar")).exits(0);
    assert_eq!(store.state(), before);
}
