//! `stop`, `restart`, `kill`, `wait`, `pause`, `unpause`.

use std::time::{Duration, Instant};

use hull_engine::store::ContainerState;
use nix::sys::signal::{Signal, kill};
use serde_json::json;

use hull_tests::{BUSYBOX, Background, Store, archive::Archive, hull};

/// A shell that says what it gets, and ends with 42 by that signal.
fn obedient(signal: &str) -> String {
    format!("trap 'echo got {signal}; exit 42' {signal}; echo ready; while true; do sleep 0.1; done")
}

const DEAF: &str = "trap '' TERM; echo ready; while true; do sleep 1; done";

#[test]
fn stop_asks_by_sigterm_and_the_answer_is_the_exit_code() {
    let container = Background::run([BUSYBOX, "sh", "-c", &obedient("TERM")]);
    container.expect_log("ready");
    assert_eq!(container.hull(["stop"]).text(), container.name);
    container.expect_exit(42);
    assert!(container.log().contains("got TERM"));
    // One that has ended has stopped.
    assert_eq!(container.hull(["stop"]).text(), container.name);
}

#[test]
fn who_does_not_listen_is_killed_after_the_time_given() {
    for time in ["1", "0"] {
        let container = Background::run([BUSYBOX, "sh", "-c", DEAF]);
        container.expect_log("ready");
        let started = Instant::now();
        container.hull(["stop", "-t", time]).exits(0);
        assert!(started.elapsed() >= Duration::from_secs(time.parse().unwrap()));
        container.expect_exit(137);
    }
    let container = Background::run(["--stop-timeout", "1", BUSYBOX, "sh", "-c", DEAF]);
    container.expect_log("ready");
    container.hull(["stop"]).exits(0);
    container.expect_exit(137);
}

#[test]
fn sandbox_that_does_not_answer_is_killed_at_its_first_silence() {
    let container = Background::run([BUSYBOX, "sleep", "1000"]);
    kill(container.agent(), Signal::SIGSTOP).unwrap();
    let began = Instant::now();
    container.hull(["stop", "-t", "1"]).exits(0);
    // One question is waited for 10 s; all of a stop's, one after the other, would be 50.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    container.expect_exit(137);
}

#[test]
fn stop_without_a_limit_waits_as_long_as_it_takes() {
    let slow = "trap 'sleep 3; exit 6' TERM; echo ready; while true; do sleep 0.1; done";
    let container = Background::run(["--stop-timeout", "1", BUSYBOX, "sh", "-c", slow]);
    container.expect_log("ready");
    container.hull(["stop", "-t", "-1"]).exits(0);
    container.expect_exit(6);
}

#[test]
fn stop_signal_is_the_options_or_the_images() {
    let container = Background::run(["--stop-signal", "USR1", BUSYBOX, "sh", "-c", &obedient("USR1")]);
    container.expect_log("ready");
    container.hull(["stop"]).exits(0);
    container.expect_exit(42);

    let store = Store::new();
    let config = json!({"Cmd": ["sh"], "Env": ["PATH=/bin"], "StopSignal": "SIGUSR2"});
    store.load_archive(&Archive::on_busybox("stopping:1").config(config)).exits(0);
    let container = Background::run_in(&store, ["stopping:1", "sh", "-c", &obedient("USR2")]);
    container.expect_log("ready");
    container.hull(["stop"]).exits(0);
    container.expect_exit(42);
}

#[test]
fn restart_starts_again_what_runs_and_what_does_not() {
    let container = Background::run([BUSYBOX, "sh", "-c", "echo begun; exec sleep 1000"]);
    container.expect_log("begun");
    let first = container.row().unwrap();
    assert_eq!(container.hull(["restart", "-t", "0"]).text(), container.name);
    let second = container.expect_state(ContainerState::Running);
    assert!(second.started > first.started && second.restarts == 0);
    container.hull(["stop", "-t", "0"]).exits(0);
    container.hull(["restart"]).exits(0);
    container.expect_state(ContainerState::Running);
    hull_tests::eventually("three starts", || (container.log().matches("begun").count() == 3).then_some(()));
}

#[test]
fn kill_sends_the_signal_and_no_other() {
    let script =
        "trap 'echo got USR1' USR1; trap 'echo got HUP' HUP; echo ready; while true; do sleep 0.1; done";
    let container = Background::run([BUSYBOX, "sh", "-c", script]);
    container.expect_log("ready");
    for word in ["USR1", "SIGHUP", "10", "sigusr1"] {
        assert_eq!(container.hull(["kill", "-s", word]).text(), container.name);
        // Signals of one kind do not queue; what the shell has said it has taken.
        let name = if word == "SIGHUP" { "got HUP" } else { "got USR1" };
        container.expect_log(name);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(container.log().matches("got USR1").count(), 3);
    for bad in ["NOSUCH", "0", "65", ""] {
        container.hull(["kill", "-s", bad]).fails(1);
    }
    assert_eq!(container.row().unwrap().state, ContainerState::Running);
    assert_eq!(container.hull(["kill"]).text(), container.name);
    container.expect_exit(137);
    let line = container.hull(["kill"]).fails(1);
    assert!(line.contains("not running"), "{line}");
}

#[test]
fn signal_that_ends_the_command_is_its_exit_code() {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("ABRT", 134)] {
        let container = Background::run(["--init", BUSYBOX, "sh", "-c", "echo ready; exec sleep 1000"]);
        container.expect_log("ready");
        container.hull(["kill", "--signal", signal]).exits(0);
        container.expect_exit(code);
    }
}

#[test]
fn wait_tells_the_exit_codes_of_all_in_their_order() {
    let slow = Background::run([BUSYBOX, "sh", "-c", "sleep 1; exit 3"]);
    let quick = Background::run([BUSYBOX, "sh", "-c", "exit 4"]);
    assert_eq!(hull(["wait", &slow.name, &quick.name]).text(), "3\n4");
    // And again, after the end.
    assert_eq!(hull(["wait", &quick.name, &slow.name]).text(), "4\n3");
    let output = hull(["wait", &quick.name, "no-such-container"]).exits(1);
    assert_eq!(output.stdout, b"4\n");
}

#[test]
fn who_hears_of_the_end_may_start_it_again_at_once() {
    let container = Background::create([BUSYBOX, "true"]);
    for _ in 0..10 {
        container.hull(["start"]).exits(0);
        container.hull(["wait"]).exits(0);
        container.hull(["start", "-a"]).exits(0);
    }
}

#[test]
fn several_wait_for_one() {
    let container = Background::run([BUSYBOX, "sh", "-c", &obedient("TERM")]);
    container.expect_log("ready");
    let waiting: Vec<_> = (0..4).map(|_| container.command(["wait"]).spawn()).collect();
    container.hull(["stop"]).exits(0);
    for running in waiting {
        assert_eq!(running.finish().text(), "42");
    }
}

#[test]
fn wait_for_a_container_that_goes_with_its_end_tells_its_code() {
    let container = Background::run(["--rm", "-i", BUSYBOX, "sh", "-c", &obedient("TERM")]);
    let waiting = container.command(["wait"]).spawn();
    container.expect_log("ready");
    std::thread::sleep(Duration::from_millis(300));
    container.hull(["stop"]).exits(0);
    assert_eq!(waiting.finish().text(), "42");
    container.expect_gone();
}

#[test]
fn paused_container_stands_still_until_it_is_not() {
    let count = "n=0; while true; do echo n=$n; n=$((n + 1)); sleep 0.05; done";
    let container = Background::run([BUSYBOX, "sh", "-c", count]);
    container.expect_log("n=3");
    assert_eq!(container.hull(["pause"]).text(), container.name);
    assert_eq!(container.row().unwrap().state, ContainerState::Paused);
    assert!(hull(["ps"]).text().lines().any(|l| l.contains(&container.name) && l.contains("(Paused)")));
    // What was written before may still be on its way.
    std::thread::sleep(Duration::from_millis(300));
    let length = container.log().len();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(container.log().len(), length);
    for words in [["pause"], ["rm"]] {
        let line = container.hull(words).fails(1);
        assert!(line.contains("paused"), "{line}");
    }
    let line = hull(["exec", &container.name, "true"]).fails(1);
    assert!(line.contains("paused"), "{line}");
    assert_eq!(container.hull(["unpause"]).text(), container.name);
    hull_tests::eventually("the log goes on", || (container.log().len() > length).then_some(()));
    let line = container.hull(["unpause"]).fails(1);
    assert!(line.contains("not paused"), "{line}");
    container.hull(["kill"]).exits(0);
    for words in [["pause"], ["unpause"]] {
        container.hull(words).fails(1);
    }
}

#[test]
fn paused_container_can_be_stopped_killed_and_restarted() {
    for (words, code) in [(["stop"], 42), (["kill"], 137)] {
        let container = Background::run([BUSYBOX, "sh", "-c", &obedient("TERM")]);
        container.expect_log("ready");
        container.hull(["pause"]).exits(0);
        container.hull(words).exits(0);
        container.expect_exit(code);
    }
    let container = Background::run([BUSYBOX, "sh", "-c", &obedient("TERM")]);
    container.expect_log("ready");
    container.hull(["pause"]).exits(0);
    container.hull(["restart"]).exits(0);
    container.expect_state(ContainerState::Running);
}
