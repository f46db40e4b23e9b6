//! Images that nobody should make: each is refused in one line, and the store stays as it was.

use std::fs;
use std::process::Command;

use hull_tests::{
    Store,
    archive::{Archive, Tar, sha256},
    paths,
};

/// Loads `archive` into a store with busybox in it; returns hull's line.
#[track_caller]
fn refused(archive: &Archive) -> String {
    let store = Store::with_busybox();
    let before = store.state();
    let line = store.load_archive(archive).fails(1);
    assert_eq!(store.state(), before, "the store is not as it was after: {line}");
    assert_eq!(store.run(["busybox", "echo", "fine"]).output().text(), "fine");
    line
}

fn evil(tar: Tar) -> Archive {
    Archive::new("evil:1").layer(tar.bytes())
}

#[test]
fn layer_with_another_digest_is_refused() {
    let archive = evil(Tar::new().file("a", b"a")).claim_digest(&sha256(b"something else"));
    let line = refused(&archive);
    assert!(line.contains("corrupt") && line.contains(&sha256(b"something else")), "{line}");
}

#[test]
fn blob_of_an_oci_layout_with_another_digest_is_refused() {
    let store = Store::with_busybox();
    let layout = store.scratch.join("layout");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(paths::image("layers").canonicalize().unwrap())
        .arg(&layout)
        .status();
    assert!(copied.unwrap().success());
    let largest = fs::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .max_by_key(|p| fs::metadata(p).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&largest, bytes).unwrap();
    let before = store.state();
    let line = store.load(&layout).fails(1);
    assert!(line.contains("sha256") || line.contains("digest") || line.contains("corrupt"), "{line}");
    assert_eq!(store.state(), before);
}

#[test]
fn truncated_archives_are_refused_wherever_they_end() {
    let whole = fs::read(paths::image("busybox.tar")).unwrap();
    let store = Store::new();
    let before = store.state();
    for part in [1, 2, 3] {
        let output = store.hull(["load"]).stdin(&whole[..whole.len() * part / 4]).output();
        output.fails(1);
    }
    assert_eq!(store.state(), before);
}

#[test]
fn layer_that_promises_more_than_it_has_is_refused() {
    refused(&evil(Tar::new().promise("more", 1 << 20)));
}

#[test]
fn names_that_climb_out_are_refused_or_stay_inside() {
    for name in ["../escaped", "a/../../escaped", "../../../../../../tmp/hull-e2e-escaped"] {
        let line = refused(&evil(Tar::new().file(name, b"out")));
        assert!(line.contains(name), "{line}");
    }
    assert!(!std::path::Path::new("/tmp/hull-e2e-escaped").exists());
}

#[test]
fn absolute_names_are_below_the_containers_root() {
    // As docker: a leading slash is the container's root.
    let store = Store::new();
    let image = Archive::on_busybox("absolute:1")
        .layer(Tar::new().file("/tmp/hull-e2e-absolute", b"inside\n").bytes());
    store.load_archive(&image).exits(0);
    assert_eq!(store.run(["absolute:1", "cat", "/tmp/hull-e2e-absolute"]).output().text(), "inside");
    assert!(!std::path::Path::new("/tmp/hull-e2e-absolute").exists());
}

#[test]
fn file_below_a_symlink_does_not_follow_it() {
    let tar = Tar::new().symlink("link", "/tmp").file("link/hull-e2e-through", b"x");
    let store = Store::with_busybox();
    let output = store.load_archive(&evil(tar));
    // Either is sound: refused, or a folder takes the link's place.
    assert!(matches!(output.code, 0 | 1), "{}", output.report("symlink in the way"));
    assert!(!std::path::Path::new("/tmp/hull-e2e-through").exists());
}

#[test]
fn hard_link_to_nothing_and_out_of_the_tree_is_refused() {
    let line = refused(&evil(Tar::new().hard_link("link", "nowhere")));
    assert!(line.contains("nowhere"), "{line}");
    refused(&evil(Tar::new().hard_link("link", "../../etc/shadow")));
    let line = refused(&evil(Tar::new().folder("folder").hard_link("link", "folder")));
    assert!(line.contains("directory"), "{line}");
}

#[test]
fn image_for_another_platform_is_refused() {
    let arm = evil(Tar::new().file("a", b"a")).platform("linux", "arm64");
    let line = refused(&arm);
    assert!(line.contains("arm64") && line.contains("amd64"), "{line}");
    let windows = evil(Tar::new().file("a", b"a")).platform("windows", "amd64");
    assert!(refused(&windows).contains("windows"));
}

#[test]
fn tar_bomb_is_refused_before_it_fills_the_disk() {
    // A store with little room, and 300 megabytes of zeros that come as one of gzip.
    let store = Store::new();
    let small = SmallDisk::mount(&store.root, "size=330m");
    store.load(&paths::image("busybox.tar")).exits(0);
    let before = store.state();
    let header = store.scratch.join("header");
    fs::write(&header, &Tar::new().promise("zeros", 300 << 20).bytes()[..512]).unwrap();
    let bomb = store.scratch.join("bomb.tar.gz");
    let script = "{ cat \"$1\"; head -c 314573824 /dev/zero; } | gzip -1 > \"$2\"";
    let made = Command::new("sh").arg("-ec").arg(script).arg("sh").args([&header, &bomb]).status();
    assert!(made.unwrap().success());
    let line = store.hull(["import".as_ref(), bomb.as_os_str()]).output().fails(1);
    assert!(line.contains("is full but for 256 MiB"), "{line}");
    assert_eq!(store.state(), before);
    drop(small);
}

/// A tmpfs, for as long as it lives.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(path: &std::path::Path, options: &str) -> SmallDisk {
        fs::create_dir_all(path).unwrap();
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options)).unwrap();
        SmallDisk(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.0);
    }
}

#[test]
fn archive_of_very_many_entries_is_taken() {
    let mut tar = Tar::new();
    for n in 0..30_000 {
        tar = tar.file(&format!("d{}/f{n}", n % 100), b"");
    }
    let store = Store::new();
    let output = store.load_archive(&evil(tar)).exits(0);
    assert!(output.stderr.is_empty());
}

#[test]
fn what_is_no_archive_is_refused() {
    let store = Store::with_busybox();
    let before = store.state();
    for input in
        [b"".to_vec(), b"not an archive".repeat(100), vec![0; 10240], Tar::new().file("readme", b"x").bytes()]
    {
        store.hull(["load"]).stdin(input).output().fails(1);
    }
    store.load("/no/such/archive.tar".as_ref()).fails(1);
    store.load("/dev/null".as_ref()).fails(1);
    store.load("/etc".as_ref()).fails(1);
    assert_eq!(store.state(), before);
}

#[test]
fn configs_and_manifests_that_lie_are_refused() {
    let layer = Tar::new().file("a", b"a").bytes();
    let config = format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["sha256:{}"]}}}}"#,
        sha256(&layer)
    );
    let whole = |manifest: &str, config: &str| {
        Tar::new()
            .file("config.json", config.as_bytes())
            .file("l.tar", &layer)
            .file("manifest.json", manifest.as_bytes())
            .bytes()
    };
    let good = r#"[{"Config":"config.json","RepoTags":["x:1"],"Layers":["l.tar"]}]"#;
    let store = Store::new();
    let before = store.state();
    let bad = [
        whole("[]", &config),
        whole("{", &config),
        whole(r#"[{"Config":"../../etc/passwd","RepoTags":["x:1"],"Layers":["l.tar"]}]"#, &config),
        whole(r#"[{"Config":"config.json","RepoTags":["x:1"],"Layers":["l.tar","l.tar"]}]"#, &config),
        whole(r#"[{"Config":"config.json","RepoTags":["x:1"],"Layers":["missing.tar"]}]"#, &config),
        whole(r#"[{"Config":"config.json","RepoTags":["NOT A TAG"],"Layers":["l.tar"]}]"#, &config),
        whole(good, "{}"),
        whole(good, "not json"),
        whole(good, &config.replace("sha256:", "md5:")),
    ];
    for (n, input) in bad.into_iter().enumerate() {
        let output = store.hull(["load"]).stdin(input).output();
        assert!(output.code == 1, "{}", output.report(&format!("number {n} is taken")));
        output.fails(1);
    }
    assert_eq!(store.state(), before);
    store.hull(["load"]).stdin(whole(good, &config)).output().exits(0);
}

#[test]
fn terminal_control_in_names_is_not_printed() {
    let store = Store::new();
    let archive = evil(Tar::new().file("../\x1b[31mred", b"x"));
    let line = store.load_archive(&archive).fails(1);
    assert!(!line.contains('\x1b'), "{line:?}");
}
