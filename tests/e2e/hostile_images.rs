//! Images that an enemy made, up to their containers.

use hull_tests::{
    Store,
    archive::{Archive, Tar},
    unique,
};
use serde_json::json;

#[test]
fn device_nodes_of_an_image_are_there_and_only_those_that_are_allowed_open() {
    let store = Store::new();
    let reference = format!("{}:1", unique("devices"));
    let tar = Tar::new()
        .device(b'3', "mem", (1, 1))
        .device(b'4', "disk", (254, 0))
        .device(b'3', "kvm", (10, 232))
        .device(b'3', "console", (5, 1))
        .device(b'3', "null", (1, 3));
    store.load_archive(&Archive::on_busybox(&reference).layer(tar.bytes())).exits(0);
    let script = "stat -c '%F %t:%T' /mem /disk /kvm /null
        for device in mem disk kvm console; do
            head -c 1 /$device 2>&1 | grep -c 'not permitted\\|ermission denied'
        done
        echo gone > /null && wc -c < /null";
    assert_eq!(
        store.run([reference.as_str(), "sh", "-c", script]).output().text(),
        "character special file 1:1\nblock special file fe:0\ncharacter special file a:e8\n\
         character special file 1:3\n1\n1\n1\n1\n0"
    );
}

/// Names longer than a header has room for.
fn long(tar: Tar, name: &str, target: Option<&str>) -> Tar {
    let tar = tar.member(b'L', "././@LongLink", "", format!("{name}\0").as_bytes());
    match target {
        None => tar.folder("x"),
        Some(target) => {
            tar.member(b'K', "././@LongLink", "", format!("{target}\0").as_bytes()).symlink("x", "x")
        }
    }
}

#[test]
fn tree_of_ten_thousand_levels_is_run_written_to_and_removed() {
    let store = Store::new();
    let reference = format!("{}:1", unique("deep"));
    let run = "d/".repeat(1000);
    let tar = (0..10).fold(Tar::new(), |tar, step: u32| {
        let from = step.checked_sub(1).map_or(String::new(), |step| format!("l{step}/"));
        let tar = long(tar, &format!("{from}{run}"), None);
        long(tar, &format!("l{step}"), Some(&format!("/{from}{}", run.trim_end_matches('/'))))
    });
    store.load_archive(&Archive::on_busybox(&reference).layer(tar.bytes())).exits(0);
    let name = unique("deep");
    // Where something is written the overlay copies each folder on the way, which costs it their square: a
    // thousand of them.
    let script = "test -d /l9/. && echo bottom && echo written > /l0/file && cat /l0/file";
    let words = ["--name", name.as_str(), reference.as_str(), "sh", "-c", script];
    assert_eq!(store.keep(words).output().text(), "bottom\nwritten");
    store.hull(["rm", name.as_str()]).output().exits(0);
    store.hull(["rmi", reference.as_str()]).output().exits(0);
    assert_eq!(store.hull(["images", "-q"]).output().text(), "");
}

#[test]
fn texts_of_an_image_do_not_move_the_cursor() {
    let store = Store::new();
    let evil = "\u{1b}[2J\u{9b}31m\u{202e}\rx\u{7}";
    let reference = format!("{}:1", unique("texts"));
    let config = json!({
        "Cmd": ["sh", evil], "Env": [format!("EVIL={evil}")], "User": evil, "WorkingDir": format!("/{evil}"),
        "Labels": {(evil): evil}, "StopSignal": evil, "Healthcheck": {"Test": ["CMD", evil]},
    });
    store.load_archive(&Archive::on_busybox(&reference).config(config)).exits(0);
    let shown = |words: &[&str]| {
        let output = store.hull(words).output();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr;
        let moves = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
        assert!(!text.contains(moves), "{words:?}: {}", text.escape_debug());
        text
    };
    assert!(shown(&["image", "inspect", &reference]).contains(r"\u202e"));
    assert!(!shown(&["images"]).is_empty());
    // What fails because of such a text says so in one line.
    let line = store.run([reference.as_str(), "true"]).output();
    let text = line.stderr;
    assert!(!text.contains(['\u{1b}', '\u{9b}', '\r']), "{}", text.escape_debug());
}
