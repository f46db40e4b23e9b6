//! `--env-file` and who wins. The rest of `-e` is in the conformance tables.

use std::fs;

use serde_json::json;

use hull_tests::{BUSYBOX, Hull, Store, archive::Archive, paths, unique};

fn env_file(text: &str) -> String {
    let path = paths::temporary().join(unique("env"));
    fs::create_dir_all(paths::temporary()).unwrap();
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn env_file_takes_comments_blank_lines_and_the_callers_values() {
    let file = env_file("# comment\n\nA=1\n  B=two words # kept\nFROM_CALLER\nNOT_SET_ANYWHERE\nC=\n");
    let hull = Hull::run(["--env-file", &file, BUSYBOX, "env"]).env("FROM_CALLER", "yes");
    let text = hull.output().text();
    for line in ["A=1", "B=two words # kept", "FROM_CALLER=yes", "C="] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("comment") && !text.contains("NOT_SET_ANYWHERE"), "{text}");
}

#[test]
fn option_wins_over_file_and_file_over_image() {
    let store = Store::new();
    let image =
        Archive::on_busybox("env:1").config(json!({"Env": ["PATH=/bin", "A=image", "B=image", "C=image"]}));
    store.load_archive(&image).exits(0);
    let file = env_file("A=file\nB=file\n");
    let text = store.run(["--env-file", &file, "-e", "A=option", "env:1", "env"]).output().text();
    for line in ["PATH=/bin", "A=option", "B=file", "C=image"] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[test]
fn option_without_a_value_takes_the_callers_or_takes_the_variable_away() {
    let hull = Hull::run(["-e", "CALLERS", "-e", "PATH=/bin", "-e", "GONE", BUSYBOX, "env"]);
    let text = hull.env("CALLERS", "own").output().text();
    assert!(text.contains("CALLERS=own") && !text.contains("GONE"), "{text}");
}

#[test]
fn nothing_else_of_the_callers_environment_gets_in() {
    let text = Hull::run([BUSYBOX, "env"]).env("SECRET", "s3cret").output().text();
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn value_that_is_not_utf8_arrives_as_it_is() {
    use std::os::unix::ffi::OsStrExt;
    let word = std::ffi::OsStr::from_bytes(b"A=\xff\xfe");
    let mut hull = Hull::run(["-e"]).args([word]);
    hull = hull.args([BUSYBOX, "sh", "-c", "printf %s \"$A\" | od -An -tx1"]);
    assert_eq!(hull.output().text().trim(), "ff fe");
}

#[test]
fn env_file_that_is_missing_or_wrong_is_refused() {
    let line = Hull::run(["--env-file", "/no/such/file", BUSYBOX, "true"]).output().fails(125);
    assert!(line.contains("/no/such/file"), "{line}");
    let file = env_file("fine=1\nnot fine=2\n");
    let line = Hull::run(["--env-file", &file, BUSYBOX, "true"]).output().fails(125);
    assert!(line.contains(&file), "{line}");
}
