//! `hull events`.

use std::time::{SystemTime, UNIX_EPOCH};

use hull_tests::{BUSYBOX, Hull, Running, hull, unique};
use nix::sys::signal::Signal;

/// Seconds since 1970, a few from now.
fn soon(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    (now + seconds).to_string()
}

/// What has happened to a container by now.
fn past(name: &str, format: &str) -> String {
    let filter = format!("container={name}");
    hull(["events", "--since", "0", "--until", "0s", "--filter", &filter, "--format", format]).text()
}

/// `hull events` that has seen its first event, so that it misses none from now on.
fn following(name: &str) -> Running {
    let filter = format!("container={name}");
    let mut events =
        Hull::new(["events", "--since", "0", "--filter", &filter, "--format", "{{.Action}}"]).spawn();
    events.stdout.expect("create");
    events
}

#[test]
fn a_containers_life_is_told_in_dockers_words() {
    let (name, new) = (unique("events"), unique("renamed"));
    Hull::keep(["--name", &name, "-l", "app=x", BUSYBOX, "sh", "-c", "exit 3"]).output().exits(3);
    assert_eq!(past(&name, "{{.Action}}"), "create\nstart\ndie");
    let filters = ["--filter", &format!("container={name}"), "--filter", "event=die"];
    let line = Hull::new(["events", "--since", "0", "--until", "0s"]).args(filters).output().text();
    let (head, attributes) = line.split_once(" (").unwrap();
    assert_eq!(attributes, format!("app=x, exitCode=3, image=busybox, name={name})"));
    assert!(head.contains(" container die ") && head.rsplit(' ').next().unwrap().len() == 64, "{head}");
    let json = past(&name, "json");
    assert!(
        json.starts_with(r#"{"status":"create","id":""#) && json.contains(r#""scope":"local","time":"#),
        "{json}"
    );
    hull(["rename", &name, &new]).exits(0);
    hull(["rm", &new]).exits(0);
    assert_eq!(
        past(&new, "{{.Action}} {{.Actor.Attributes.oldName}}"),
        format!("rename /{name}\ndestroy <no value>")
    );
}

#[test]
fn filters_choose_events() {
    let name = unique("events");
    let label = format!("case={name}");
    Hull::keep(["--name", &name, "-l", &label, BUSYBOX, "true"]).output().exits(0);
    let actions = |filters: &[&str]| {
        let words = filters.iter().flat_map(|filter| ["--filter", filter]);
        let shown = ["events", "--since", "0", "--until", "0s", "--format", "{{.Action}}"];
        Hull::new(shown).args(["--filter", &format!("label={label}")]).args(words).output().text()
    };
    assert_eq!(actions(&["type=container"]), "create\nstart\ndie");
    assert_eq!(actions(&["type=image"]), "");
    assert_eq!(actions(&["event=die", "event=create"]), "create\ndie");
    assert_eq!(actions(&["image=busybox", "event=start"]), "start");
    assert_eq!(actions(&["image=other"]), "");
    assert!(hull(["events", "--filter", "nosuch=v"]).fails(1).contains("invalid filter 'nosuch'"));
    assert!(hull(["events", "--until", "noon"]).fails(1).contains("noon"));
    assert!(hull(["events", "--format", "{{.Nope}}"]).fails(64).contains("Nope"));
    hull(["rm", &name]).exits(0);
}

#[test]
fn following_sees_what_happens_until_a_signal() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let name = unique("events");
        Hull::new([
            "create",
            "--isolation",
            hull_tests::isolation().word(),
            "--name",
            &name,
            BUSYBOX,
            "true",
        ])
        .output()
        .exits(0);
        let mut events = following(&name);
        hull(["start", "-a", &name]).exits(0);
        hull(["rm", &name]).exits(0);
        events.stdout.expect("destroy");
        events.signal(signal);
        let output = events.finish().exits(code);
        assert_eq!(output.stdout, b"create\nstart\ndie\ndestroy\n");
    }
}

#[test]
fn following_ends_at_the_time_given() {
    let name = unique("events");
    Hull::keep(["--name", &name, BUSYBOX, "true"]).output().exits(0);
    let filter = format!("container={name}");
    let words = ["events", "--until", &soon(3), "--filter", &filter, "--format", "{{.Action}}"];
    let mut events = Hull::new(words).spawn();
    events.stdout.expect("die");
    assert_eq!(events.finish().text(), "create\nstart\ndie");
    hull(["rm", &name]).exits(0);
}
