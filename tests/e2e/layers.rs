//! An image of many layers, file by file against another program's idea of it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use hull_tests::{Hull, LAYERS, Store, archive::Archive, paths, run};

/// What hull puts over the image, or changes the time of by doing so.
const OVERLAID: [&str; 8] =
    ["", "/proc", "/sys", "/dev", "/etc", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// Folders that a layer only implies: what time they get is everybody's own choice.
const IMPLIED: [&str; 3] = ["/keep", "/keep/fresh", "/keep/fresh/path"];

/// The lines that both must have, by their paths.
fn comparable(listing: &str) -> BTreeMap<String, String> {
    let entries = listing.lines().map(|line| line.split_once(' ').unwrap());
    let entries = entries.map(|(path, rest)| (path.trim_start_matches('.').to_owned(), rest.to_owned()));
    let kept = entries.filter(|(path, _)| !OVERLAID.contains(&path.as_str()) && path != "/list");
    let without_time =
        |rest: &str| rest.split(' ').filter(|word| !word.starts_with("mtime=")).collect::<Vec<_>>().join(" ");
    kept.map(
        |(path, rest)| {
            if IMPLIED.contains(&path.as_str()) { (path, without_time(&rest)) } else { (path, rest) }
        },
    )
    .collect()
}

#[test]
fn merged_root_is_what_umoci_unpacks() {
    // The listing program comes in over stdin, so that it needs no place in the image.
    let program = fs::read(paths::listing_program()).unwrap();
    let script = "cat > /list && chmod 755 /list && exec /list /";
    let found = Hull::run(["-i", "-w", "/", LAYERS, "sh", "-c", script]).stdin(program).output().text();
    let found = comparable(&found);
    let expected = comparable(&fs::read_to_string(paths::image("layers.listing")).unwrap());
    assert!(expected.len() > 300, "only {} entries to compare", expected.len());
    for path in expected.keys().chain(found.keys()) {
        assert_eq!(found.get(path), expected.get(path), "{path}: hull's on the left, umoci's on the right");
    }
}

#[test]
fn image_says_where_to_start_and_what_to_set() {
    assert_eq!(run([LAYERS, "sh", "-c", "pwd; echo $WHERE"]).text(), "/data\nlayers");
}

#[test]
fn whiteouts_and_opaque_folders_hide_what_is_below() {
    let script =
        "cat two changed lower/inside /gone/back; ls /gone /opaque; test ! -e /opaque/inner && echo hidden";
    assert_eq!(
        run([LAYERS, "sh", "-c", script]).text(),
        "again\nchanged twice\ninside\nback\n/gone:\nback\n\n/opaque:\nnew\nhidden"
    );
}

#[test]
fn hard_links_across_layers_are_one_file() {
    let script = "stat -c '%h %i' one hard hard-from-above | sort -u | wc -l; cat hard-from-above";
    assert_eq!(run([LAYERS, "sh", "-c", script]).text(), "1\none");
}

#[test]
fn file_that_is_replaced_stays_replaced_after_a_write() {
    let script = "echo more >> one; cat one; chmod 600 big; stat -c '%a %s' big; rm -r /opaque; ls -d /opaque 2>&1; mkdir /opaque; ls /opaque";
    let text = run([LAYERS, "sh", "-c", script]).text();
    assert_eq!(text, "one\nmore\n600 100000\nls: /opaque: No such file or directory");
}

#[test]
fn listing_sees_what_it_compares() {
    // The comparison is worth what its lines say: one of each kind is looked at by eye here.
    let listing = fs::read_to_string(paths::image("layers.listing")).unwrap();
    let lines: Vec<&str> = listing.lines().collect();
    let line = |path: &str| lines.iter().find(|line| line.starts_with(&format!("./data/{path} "))).unwrap();
    assert!(line("null").ends_with("device=1:3"));
    assert!(line("relative").contains("33:33") && line("relative").ends_with("-> one"));
    assert!(line("setuid").starts_with("./data/setuid 106755 0:0"));
    assert!(line("nanoseconds").contains("mtime=1044245106.123456789"));
    assert!(
        line("capable").contains("security.capability=")
            && line("capable").contains("user.binary=\\x00\\xff\\x10")
    );
}

#[test]
fn sparse_file_of_ten_gibibytes_takes_no_room() {
    for format in ["gnu", "posix"] {
        let store = Store::new();
        let script = "cd \"$1\" && truncate -s 10G sparse && printf end >> sparse && tar -S --format=\"$2\" -cf layer.tar sparse && rm sparse";
        let made =
            Command::new("sh").arg("-ec").arg(script).arg("sh").arg(&store.scratch).arg(format).status();
        assert!(made.unwrap().success());
        let layer = fs::read(store.scratch.join("layer.tar")).unwrap();
        store.load_archive(&Archive::on_busybox("sparse:1").layer(layer)).exits(0);
        let text =
            store.run(["sparse:1", "sh", "-c", "stat -c %s /sparse; tail -c 3 /sparse"]).output().text();
        assert_eq!(text, "10737418243\nend", "{format}");
        let used = Command::new("du").arg("-sm").arg(&store.root).output().unwrap();
        let mebibytes: u64 =
            String::from_utf8_lossy(&used.stdout).split_whitespace().next().unwrap().parse().unwrap();
        assert!(mebibytes < 64, "{mebibytes} MiB in the store");
    }
}
