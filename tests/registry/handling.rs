//! `tag`, `rmi`, `images`, `history`, `image inspect`, `image prune`, `system df` and `system check`. What they
//! print was compared with docker 20.10's daemon and 28.2's client.

use std::fs;
use std::path::PathBuf;

use hull_tests::archive::{Archive, Tar};
use hull_tests::registry::names;
use hull_tests::{Registry, Store, paths};
use serde_json::{Value, json};

/// What it printed, with its exit code.
fn told(store: &Store, args: &[&str]) -> String {
    let output = store.hull(args).output();
    String::from_utf8(output.exits(0).stdout).unwrap()
}

fn id_of(store: &Store, image: &str) -> String {
    told(store, &["image", "inspect", "-f", "{{.Id}}", image]).trim().to_owned()
}

/// Flips a bit of a file, which is read-only and may be linked to from elsewhere.
fn damage(path: &PathBuf, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn only_file(store: &Store, folder: &str, end: &str) -> PathBuf {
    let folder = store.root.join(folder);
    let mut files: Vec<String> = names(&folder).into_iter().filter(|name| name.ends_with(end)).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    folder.join(files.remove(0))
}

#[test]
fn a_tag_and_the_digest_it_was_pulled_by_are_one_row() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_busybox("bb:1");
    let name = registry.name("bb");
    let tagged = format!("{name}:1");
    store.hull(["pull", "-q", &tagged]).output().exits(0);
    let digest = registry.digest("bb", "1");
    store.hull(["tag", &tagged, "other/bb:2"]).output().exits(0);
    let rows = |format| told(&store, &["images", "--format", format]);
    assert_eq!(rows("{{.Repository}} {{.Tag}}"), format!("{name} 1\nother/bb 2\n"));
    assert_eq!(rows("{{.Repository}} {{.Digest}}"), format!("{name} {digest}\nother/bb <none>\n"));
    let inspected = told(&store, &["inspect", "--type", "image", "-f", "{{json .RepoDigests}}", &tagged]);
    assert_eq!(inspected, format!("[\"{name}@{digest}\"]\n"));
    // The last tag of a repository takes its digests along.
    let by_digest = format!("{name}@{digest}");
    assert_eq!(told(&store, &["rmi", &tagged]), format!("Untagged: {tagged}\nUntagged: {by_digest}\n"));
    store.hull(["pull", "-q", &by_digest]).output().exits(0);
    assert_eq!(rows("{{.Repository}} {{.Tag}}"), format!("{name} <none>\nother/bb 2\n"));
    assert_eq!(told(&store, &["rmi", "other/bb:2"]), "Untagged: other/bb:2\n");
    assert_eq!(told(&store, &["images", "-q", "-f", "dangling=true"]).lines().count(), 1);
    let id = id_of(&store, &by_digest);
    let layer = told(&store, &["image", "inspect", "-f", "{{index .RootFS.Layers 0}}", &id]);
    assert_eq!(
        told(&store, &["rmi", &id[..19]]),
        format!("Untagged: {by_digest}\nDeleted: {id}\nDeleted: {layer}")
    );
}

#[test]
fn removing_refuses_in_dockers_words() {
    let store = Store::with_busybox();
    let id = id_of(&store, "busybox");
    let short = &id["sha256:".len()..][..12];
    store.hull(["tag", "busybox", "busybox:2"]).output().exits(0);
    let fails = |args: &[&str]| store.hull(args).output().fails(1);
    let several = format!(
        "hull: conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
    );
    assert_eq!(fails(&["rmi", short]), several);
    store.hull(["rmi", "busybox:2"]).output().exits(0);
    let container = store.keep(["--name", "user", "busybox", "true"]).output();
    container.exits(0);
    let container = told(&store, &["inspect", "-f", "{{slice .Id 0 12}}", "user"]);
    let container = container.trim();
    assert_eq!(
        fails(&["rmi", "busybox"]),
        format!(
            "hull: conflict: unable to remove repository reference \"busybox\" (must force) - container {container} is using its referenced image {short}"
        )
    );
    assert_eq!(
        fails(&["rmi", short]),
        format!(
            "hull: conflict: unable to delete {short} (must be forced) - image is being used by stopped container {container}"
        )
    );
    assert_eq!(told(&store, &["rmi", "-f", short]), format!("Untagged: busybox:latest\nDeleted: {id}\n"));
    // By force, what is not there is gone already.
    store.hull(["rmi", "-f", "nosuch"]).output().exits(0);
    store.hull(["rm", "user"]).output().exits(0);
    assert_eq!(names(&store.root.join("layers/v1/sha256")), [] as [&str; 0], "its last container was it");
}

#[test]
fn of_several_images_those_go_that_can() {
    let store = Store::with_busybox();
    store.hull(["tag", "busybox", "second"]).output().exits(0);
    let output = store.hull(["rmi", "nosuch", "second:latest", "Bad"]).output();
    let output = output.exits(1);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Untagged: second:latest\n");
    assert!(output.stderr.contains("No such image: nosuch:latest"), "{}", output.stderr);
    assert!(output.stderr.contains("\"Bad\" is not a valid image name"), "{}", output.stderr);
}

#[test]
fn images_are_filtered_and_formatted() {
    let store = Store::with_busybox();
    let labelled = json!({"Cmd": ["sh"], "Labels": {"a": "b"}});
    store.load_archive(&Archive::on_busybox("host:5000/team/app:1").config(labelled)).exits(0);
    store.hull(["tag", "busybox", "user/busybox:old"]).output().exits(0);
    let shown = |args: &[&str]| {
        let args = [&["images", "--format", "{{.Repository}}:{{.Tag}}"], args].concat();
        let mut lines: Vec<String> = told(&store, &args).lines().map(str::to_owned).collect();
        lines.sort();
        lines.join(" ")
    };
    for (args, expected) in [
        (&[][..], "busybox:latest host:5000/team/app:1 user/busybox:old"),
        (&["busybox"], "busybox:latest"),
        (&["user/busybox"], "user/busybox:old"),
        (&["*/busybox:o*"], "user/busybox:old"),
        (&["-f", "reference=*"], "busybox:latest"),
        (&["-f", "reference=busybox", "-f", "reference=*/*/app"], "busybox:latest host:5000/team/app:1"),
        (&["-f", "label=a=b"], "host:5000/team/app:1"),
        (&["-f", "label=a=c"], ""),
        (&["-f", "until=2024-01-02"], "busybox:latest host:5000/team/app:1 user/busybox:old"),
        (&["-f", "until=2023-01-02"], ""),
        (&["-f", "before=busybox"], ""),
        (&["-f", "dangling=true"], ""),
    ] {
        assert_eq!(shown(args), expected, "{args:?}");
    }
    for (word, why) in [
        ("dangling=x", "invalid filter 'dangling=[x]'"),
        ("foo=x", "invalid filter 'foo'"),
        ("since=nosuch", "No such image: nosuch:latest"),
    ] {
        assert_eq!(store.hull(["images", "-f", word]).output().fails(1), format!("hull: {why}"));
    }
    let row: Value = serde_json::from_str(&told(&store, &["images", "--format", "json", "busybox"])).unwrap();
    assert_eq!((&row["Tag"], &row["CreatedAt"]), (&json!("latest"), &json!("2024-01-01 00:00:00 +0000 UTC")));
}

#[test]
fn history_has_a_line_a_step() {
    let store = Store::new();
    store.load(&paths::image("layers")).exits(0);
    let id = id_of(&store, "layers");
    let lines = told(&store, &["history", "--no-trunc", "--format", "{{.ID}}", "layers"]);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines[0], id);
    assert!(lines.len() > 7 && lines[1..].iter().all(|line| *line == "<missing>"), "{lines:?}");
    let sizes = told(&store, &["history", "-H=false", "--format", "{{.Size}}", "layers"]);
    let total: u64 = sizes.lines().map(|size| size.parse::<u64>().unwrap()).sum();
    assert_eq!(total.to_string(), told(&store, &["inspect", "-f", "{{.Size}}", "layers"]).trim());
    store.hull(["history", "nosuch"]).output().fails(1);
}

#[test]
fn pruning_asks_and_tells_what_it_freed() {
    let store = Store::with_busybox();
    let image = |text: &[u8]| Archive::on_busybox("moving:1").layer(Tar::new().file("text", text).bytes());
    store.load_archive(&image(b"old")).exits(0);
    let old = id_of(&store, "moving:1");
    store.load_archive(&image(b"new")).exits(0);
    let asked = "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] ";
    let answer = |answer: &str| {
        let output = store.hull(["image", "prune"]).stdin(answer.as_bytes().to_vec()).output();
        String::from_utf8(output.exits(0).stdout).unwrap()
    };
    assert_eq!(answer("n\n"), asked);
    assert_eq!(told(&store, &["image", "prune", "-f", "--filter", "label=x"]), "Total reclaimed space: 0B\n");
    let pruned = answer("y\n");
    assert!(
        pruned.starts_with(&format!("{asked}Deleted Images:\ndeleted: {old}\ndeleted: sha256:")),
        "{pruned}"
    );
    assert!(pruned.contains("\n\nTotal reclaimed space: ") && !pruned.contains(": 0B"), "{pruned}");
    // What a container was made of stays.
    store.hull(["create", "--isolation", "namespace", "--name", "user", "busybox"]).output().exits(0);
    let pruned = told(&store, &["image", "prune", "-af"]);
    assert!(pruned.contains("untagged: moving:1\n") && !pruned.contains("busybox"), "{pruned}");
    let summary = told(&store, &["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]);
    assert_eq!(summary, "Images 1 1\nContainers 1 0\nLocal Volumes 0 0\n");
    let pruned = told(&store, &["system", "prune", "-af"]);
    assert!(
        pruned.starts_with("Deleted Containers:\n") && pruned.contains("untagged: busybox:latest\n"),
        "{pruned}"
    );
    assert_eq!(told(&store, &["system", "df", "--format", "{{.Size}}"]), "0B\n0B\n0B\n");
}

#[test]
fn what_is_damaged_is_pulled_again() {
    let (mut registry, store) = (Registry::start(), Store::new());
    registry.add_busybox("bb:1");
    let name = registry.name("bb") + ":1";
    store.hull(["pull", "-q", &name]).output().exits(0);
    assert!(told(&store, &["system", "check"]).ends_with(": all is well\n"));

    let manifest = registry.manifest("bb", "1");
    let blob = |digest: &Value| {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        store.root.join("blobs/sha256").join(hex)
    };
    let (layer_blob, config) = (blob(&manifest["layers"][0]["digest"]), blob(&manifest["config"]["digest"]));
    let layer = only_file(&store, "layers/v1/sha256", ".erofs");
    let whole = [&layer, &layer_blob, &config].map(|path| fs::read(path).unwrap());
    damage(&layer, 5000);
    damage(&layer_blob, 5000);
    damage(&config, 20);
    fs::remove_file(blob(&json!(registry.digest("bb", "1").to_string()))).unwrap();
    let output = store.hull(["system", "check", "--dry-run"]).output();
    assert!(output.exits(1).stdout.ends_with(b" left to do\n"));
    let repaired = told(&store, &["system", "check"]);
    assert!(repaired.contains(&format!("fetched again from {}", registry.name("bb"))), "{repaired}");
    assert!(repaired.ends_with("4 repaired, all is well now\n"), "{repaired}");
    assert_eq!([&layer, &layer_blob, &config].map(|path| fs::read(path).unwrap()), whole);

    // Without the registry it can only be told.
    registry.stop();
    damage(&layer_blob, 5000);
    let output = store.hull(["system", "check"]).output();
    let text = String::from_utf8(output.exits(1).stdout).unwrap();
    assert!(text.contains("pull or load its image again"), "{text}");
    assert_eq!(store.run([name.as_str(), "echo", "hi"]).output().text(), "hi", "its layer is whole");
}

#[test]
fn a_running_container_keeps_its_layer_while_it_is_repaired() {
    let store = Store::with_busybox();
    let mut running = store.run(["-i", "busybox", "sh", "-c", "echo ready; read x; ls /bin/true"]).spawn();
    running.stdout.expect("ready");
    let layer = only_file(&store, "layers/v1/sha256", ".erofs");
    // The volume's name, which no tar has.
    damage(&layer, 1024 + 64);
    assert!(told(&store, &["system", "check"]).ends_with("1 repaired, all is well now\n"));
    drop(running.stdin.take());
    running.stdout.expect("/bin/true");
    running.finish().exits(0);
}

#[test]
fn short_names_mean_the_registry_of_the_config_file() {
    let (registry, store) = (Registry::start(), Store::new());
    registry.add_busybox("bb:1");
    let config = store.scratch.join("config.toml");
    let host = registry.name("bb").trim_end_matches("/bb").to_owned();
    fs::write(&config, format!("short_names = \"{host}\"\n")).unwrap();
    let hull = |args: &[&str]| store.hull(args).env("HULL_CONFIG", &config).output();
    let text = |args: &[&str]| String::from_utf8(hull(args).exits(0).stdout).unwrap();
    hull(&["pull", "-q", "bb:1"]).exits(0);
    hull(&["tag", "bb:1", "docker.io/library/bb:2"]).exits(0);
    assert_eq!(text(&["images", "--format", "{{.Repository}}:{{.Tag}}"]), "bb:1\ndocker.io/library/bb:2\n");
    let run = store.run(["bb:1", "echo", "hi"]).env("HULL_CONFIG", &config).output();
    assert_eq!(run.text(), "hi");
    assert_eq!(text(&["rmi", "docker.io/bb:2"]), "Untagged: docker.io/library/bb:2\n");
    // For who has no such config the name is whole.
    assert_eq!(told(&store, &["images", "--format", "{{.Repository}}"]), format!("{host}/bb\n"));
    fs::write(&config, "short_names = \"nohost\"\n").unwrap();
    let line = hull(&["images"]).fails(1);
    assert!(line.contains("short_names") && line.contains("line 1"), "{line}");
}
