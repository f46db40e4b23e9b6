//! What an image's config says: Entrypoint, Cmd, User, WorkingDir, Env.

use serde_json::json;

use hull_tests::{Store, archive::Archive};

#[test]
fn arguments_replace_the_images_command_behind_its_entrypoint() {
    let store = Store::new();
    let image =
        Archive::on_busybox("ep:1").config(json!({"Entrypoint": ["/bin/echo", "entry"], "Cmd": ["default"]}));
    store.load_archive(&image).exits(0);
    assert_eq!(store.run(["ep:1"]).output().text(), "entry default");
    assert_eq!(store.run(["ep:1", "a", "b"]).output().text(), "entry a b");
    assert_eq!(store.run(["--entrypoint", "/bin/printf", "ep:1", "%s."]).output().text(), ".");
    assert_eq!(store.run(["--entrypoint", "", "ep:1", "/bin/echo", "alone"]).output().text(), "alone");
    store.run(["--entrypoint", "", "ep:1"]).output().fails(125);
}

#[test]
fn user_and_working_directory_are_the_images_unless_named() {
    let store = Store::new();
    let image =
        Archive::on_busybox("user:1").config(json!({"User": "operator:mail", "WorkingDir": "/made/here"}));
    store.load_archive(&image).exits(0);
    let script = "/bin/id -un; /bin/id -gn; pwd";
    assert_eq!(store.run(["user:1", "/bin/sh", "-c", script]).output().text(), "operator\nmail\n/made/here");
    let text = store.run(["-u", "0", "-w", "/", "user:1", "/bin/sh", "-c", script]).output().text();
    assert_eq!(text, "root\nroot\n/");
}

#[test]
fn user_that_only_the_image_names_wrongly_is_refused() {
    let store = Store::new();
    store.load_archive(&Archive::on_busybox("user:2").config(json!({"User": "ghost"}))).exits(0);
    let line = store.run(["user:2", "true"]).output().fails(125);
    assert!(line.contains("ghost"), "{line}");
}

#[test]
fn image_without_a_path_gets_dockers() {
    let store = Store::new();
    store.load_archive(&Archive::on_busybox("path:1").config(json!({"Cmd": ["env"]}))).exits(0);
    let text = store.run(["path:1"]).output().text();
    assert!(text.contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), "{text}");
}

#[test]
fn image_with_neither_entrypoint_nor_command_needs_one() {
    let store = Store::new();
    store.load_archive(&Archive::on_busybox("none:1").config(json!({}))).exits(0);
    let line = store.run(["none:1"]).output().fails(125);
    assert!(line.to_lowercase().contains("command"), "{line}");
}
