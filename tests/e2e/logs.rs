//! `hull logs`.

use hull_tests::{BUSYBOX, Hull, Store, hull, isolation, unique};

/// A container that has ended, and its name.
fn ended(options: &[&str], script: &str) -> String {
    let name = unique("logs");
    Hull::keep(["--name", &name]).args(options).args([BUSYBOX, "sh", "-c", script]).output();
    name
}

#[test]
fn each_stream_comes_back_where_it_went() {
    let name = ended(&[], "echo out; echo err >&2; printf end");
    let output = hull(["logs", &name]).exits(0);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_str()), (&b"out\nend"[..], "err\n"));
    // Which stream's last line came last is anybody's guess.
    let last = hull(["logs", "-n", "1", &name]).exits(0);
    assert!(
        last.stdout == b"end" && last.stderr.is_empty() || last.stderr == "err\n",
        "{}",
        last.report("last")
    );
    let stamped = hull(["logs", "-t", &name]).text();
    assert!(stamped.lines().all(|line| line.get(10..11) == Some("T") && line.contains("Z ")), "{stamped}");
    let early = hull(["logs", "--until", "1h", &name]).exits(0);
    assert!(early.stdout.is_empty() && early.stderr.is_empty());
    hull(["rm", &name]).exits(0);
}

#[test]
fn details_are_the_labels_asked_for() {
    let name = ended(&["-l", "app=x y", "--log-opt", "labels=app"], "echo hello");
    assert_eq!(hull(["logs", "--details", &name]).text(), "app=x+y hello");
    hull(["rm", &name]).exits(0);
}

#[test]
fn following_ends_with_the_container_and_misses_nothing() {
    let name = unique("logs");
    let script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; sleep 1; echo last";
    Hull::keep(["-d", "--name", &name, BUSYBOX, "sh", "-c", script]).output().exits(0);
    let text = hull(["logs", "-f", &name]).text();
    assert_eq!(text.lines().count(), 2001);
    assert!(text.ends_with("last"), "{text}");
    // There is nothing to follow any more.
    assert_eq!(hull(["logs", "-f", "-n", "1", &name]).text(), "last");
    hull(["rm", &name]).exits(0);
}

#[test]
fn following_goes_on_over_restarts_until_the_container_rests() {
    let name = unique("logs");
    let script = "echo run; sleep 0.5; exit 1";
    let options = ["-d", "--restart", "on-failure:2", "--name", &name, BUSYBOX, "sh", "-c", script];
    Hull::keep(options).output().exits(0);
    assert_eq!(hull(["logs", "-f", &name]).text(), "run\nrun\nrun");
    hull(["rm", &name]).exits(0);
}

#[test]
fn following_a_container_that_removes_itself_delivers_its_last_words() {
    let name = unique("logs");
    let script = "echo first; read x; echo last";
    let mut running = Hull::run(["-i", "--name", &name, BUSYBOX, "sh", "-c", script]).spawn();
    running.stdout.expect("first");
    let mut follower = Hull::new(["logs", "-f", &name]).spawn();
    follower.stdout.expect("first");
    drop(running.stdin.take());
    running.finish().exits(0);
    assert_eq!(follower.finish().text(), "first\nlast");
}

#[test]
fn what_is_not_there_is_told_in_one_line() {
    assert!(hull(["logs", "no-such-container"]).fails(1).contains("No such container: no-such-container"));
    let name = ended(&["--log-driver", "none"], "echo nothing");
    let line = hull(["logs", &name]).fails(1);
    assert!(line.contains("configured logging driver does not support reading"), "{line}");
    hull(["rm", &name]).exits(0);
}

#[test]
fn the_guests_console_is_shown_or_why_there_is_none() {
    let line = hull(["logs", "--boot", "no-such-container"]).fails(1);
    assert!(line.contains("No such container"), "{line}");
    let name = ended(&[], "true");
    let line = hull(["logs", "--boot", &name]).fails(1);
    let why = if isolation() == hull_tests::Isolation::Vm { "boot_log" } else { "no guest" };
    assert!(line.contains(why), "{line}");
    hull(["rm", &name]).exits(0);

    let store = Store::with_busybox();
    let config = store.scratch.join("config.toml");
    std::fs::write(&config, "boot_log = true\n").unwrap();
    store.keep(["--name", "booted", BUSYBOX, "true"]).env("HULL_CONFIG", &config).output().exits(0);
    let output = store.hull(["logs", "--boot", "booted"]).output();
    if isolation() == hull_tests::Isolation::Vm {
        let text = output.text();
        assert!(text.contains("Linux version") && !text.contains('\u{1b}'), "{text}");
    } else {
        assert!(output.fails(1).contains("no guest"));
    }
    store.hull(["rm", "booted"]).output().exits(0);
}
