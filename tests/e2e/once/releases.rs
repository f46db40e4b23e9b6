//! A hull and a supervisor of different releases, which speak the control socket's frames by hand here.

use std::fs::{self, File};
use std::os::fd::IntoRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use hull_guest::protocol::{read_frame, write_frame};
use serde_json::{Value, json};

use hull_tests::{BUSYBOX, Background, Store};

/// The container's control socket through its open folder, since its own path is longer than an address
/// (unix(7)).
fn control(store: &Store, container: &Background) -> PathBuf {
    let folder = File::open(store.run.join("sandboxes").join(&container.id)).unwrap();
    PathBuf::from(format!("/proc/self/fd/{}/control.sock", folder.into_raw_fd()))
}

/// One call and its answer.
fn ask(store: &Store, container: &Background, call: &Value) -> Value {
    let mut stream = UnixStream::connect(control(store, container)).unwrap();
    write_frame(&mut stream, call).unwrap();
    read_frame(&mut stream).unwrap()
}

/// A supervisor that answers every call so, in place of the container's own.
fn replace(store: &Store, container: &Background, answer: Value) {
    let path = control(store, container);
    fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _: Value = read_frame(&mut stream).unwrap();
            let _ = write_frame(&mut stream, &answer);
        }
    });
}

#[test]
fn newer_hull_gets_typed_answers() {
    let store = Store::with_busybox();
    let container = Background::run_in(&store, [BUSYBOX, "sleep", "1000"]);
    let answer = ask(&store, &container, &json!({"call": "hello", "args": {"version": 1000}}));
    assert!(answer["Ok"]["value"]["version"].is_u64(), "{answer}");
    for call in [
        json!({"call": "teleport", "args": {"container": container.id}}),
        json!({"call": "start", "args": {"container": container.id, "gently": true}}),
        json!({"call": "stop"}),
        json!("nonsense"),
    ] {
        let answer = ask(&store, &container, &call);
        assert_eq!(answer["Err"]["kind"], "invalid", "{call}: {answer}");
    }
    let answer = ask(&store, &container, &json!({"call": "pause", "args": {"container": "other"}}));
    assert_eq!(answer["Err"]["kind"], "no_container", "{answer}");
    // It goes on.
    container.hull(["stop", "-t", "0"]).exits(0);
}

#[test]
fn supervisor_that_refuses_a_call_is_told_to_be_of_another_release() {
    let store = Store::with_busybox();
    for answer in [
        json!({"Err": {"kind": "invalid", "message": "unknown variant `pause`"}}),
        json!({"Err": {"kind": "of_later", "message": "what?"}}),
        json!({"Ok": {"answer": "of_later", "value": 1}}),
    ] {
        let container = Background::run_in(&store, [BUSYBOX, "sleep", "1000"]);
        replace(&store, &container, answer.clone());
        let line = container.hull(["pause"]).fails(1);
        assert!(line.contains("another release"), "{answer}: {line}");
    }
}

#[test]
fn what_a_newer_supervisor_adds_to_an_answer_is_ignored() {
    let store = Store::with_busybox();
    let container = Background::run_in(&store, [BUSYBOX, "sleep", "1000"]);
    replace(&store, &container, json!({"Ok": {"answer": "done", "mood": "fine"}}));
    container.hull(["pause"]).exits(0);
}
