//! `hull import`: a root file system's tar becomes an image.

use std::fs;

use hull_tests::{Store, paths};

#[test]
fn imported_root_file_system_runs() {
    let store = Store::new();
    let layer = paths::image("busybox.layer.tar");
    let id = store.hull(["import".as_ref(), layer.as_os_str(), "imported:1".as_ref()]).output().text();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(store.run(["imported:1", "/bin/echo", "hi"]).output().text(), "hi");
    assert!(store.hull(["images"]).output().text().contains("imported"));
}

#[test]
fn import_reads_stdin_and_needs_no_name() {
    let store = Store::new();
    let layer = fs::read(paths::image("busybox.layer.tar")).unwrap();
    let id = store.hull(["import", "-"]).stdin(layer).output().text();
    assert_eq!(store.run([id.as_str(), "/bin/echo", "hi"]).output().text(), "hi");
}

#[test]
fn import_refuses_what_is_no_archive() {
    let store = Store::new();
    let before = store.state();
    let line = store.hull(["import", "/no/such/file"]).output().fails(1);
    assert!(line.contains("/no/such/file"), "{line}");
    store.hull(["import", "-"]).stdin("this is not a tar archive".repeat(100)).output().fails(1);
    store.hull(["import", paths::image("busybox.layer.tar").to_str().unwrap(), "Bad Name"]).output().fails(1);
    assert_eq!(store.state(), before);
}
