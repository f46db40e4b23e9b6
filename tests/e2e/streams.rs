//! stdin, stdout, stderr without a terminal.

use std::io::Write;
use std::time::Duration;

use hull_tests::{BUSYBOX, Hull, archive::sha256, run};

#[test]
fn stdout_and_stderr_stay_apart() {
    let script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done";
    let output = run([BUSYBOX, "sh", "-c", script]).exits(0);
    assert_eq!(output.stdout, b"out 1\nout 2\nout 3\n");
    assert_eq!(output.stderr, "err 1\nerr 2\nerr 3\n");
}

#[test]
fn end_of_stdin_is_seen_and_a_mebibyte_comes_back_after_it() {
    let script = "wc -c; head -c 1048576 /dev/zero";
    let output = Hull::run(["-i", BUSYBOX, "sh", "-c", script]).stdin("12345").output().exits(0);
    assert_eq!(output.stdout.len(), 2 + (1 << 20));
    assert!(output.stdout.starts_with(b"5\n"));
}

#[test]
fn every_byte_goes_both_ways_unchanged() {
    let all: Vec<u8> = (0..=255u8).cycle().take(3 << 20).collect();
    let output = Hull::run(["-i", BUSYBOX, "cat"]).stdin(all.clone()).output().exits(0);
    assert_eq!(sha256(&output.stdout), sha256(&all));
}

#[test]
fn much_output_arrives_whole_when_the_command_ends_at_once() {
    let output = run([BUSYBOX, "head", "-c", "8388608", "/dev/zero"]).exits(0);
    assert_eq!(output.stdout.len(), 8 << 20);
}

#[test]
fn command_that_ends_does_not_wait_for_more_input() {
    // stdin stays open.
    Hull::run(["-i", BUSYBOX, "true"]).spawn().finish().exits(0);
}

#[test]
fn command_that_closes_its_stdin_ends_well_under_much_input() {
    let input = vec![b'x'; 4 << 20];
    let script = "head -c 3; exec <&-; echo closed";
    let output = Hull::run(["-i", BUSYBOX, "sh", "-c", script]).stdin(input).output().exits(0);
    assert_eq!(output.stdout, b"xxxclosed\n");
}

#[test]
fn stream_closed_by_the_command_is_closed_for_the_reader() {
    let mut running = Hull::run([BUSYBOX, "sh", "-c", "exec >&-; echo still here >&2; sleep 60"]).spawn();
    running.stderr.expect("still here");
}

#[test]
fn input_is_answered_while_it_is_open() {
    let mut running =
        Hull::run(["-i", BUSYBOX, "sh", "-c", "while read line; do echo got $line; done"]).spawn();
    for word in ["one", "two"] {
        writeln!(running.stdin.as_mut().unwrap(), "{word}").unwrap();
        running.stdout.expect(&format!("got {word}"));
    }
    drop(running.stdin.take());
    running.finish().exits(0);
}

#[test]
fn reader_that_goes_away_does_not_leave_hull_behind() {
    let mut shell = std::process::Command::new("sh");
    let hull = hull_tests::paths::binary("hull");
    let mode = hull_tests::isolation().word();
    shell.arg("-c").arg(format!("{} run --rm --isolation {mode} {BUSYBOX} yes | head -n 1", hull.display()));
    shell.env("HULL_ROOT", hull_tests::paths::shared_root()).env("HULL_RUN", hull_tests::paths::shared_run());
    shell.env("HULL_CONFIG", hull_tests::paths::no_config());
    let started = std::time::Instant::now();
    let output = shell.output().unwrap();
    assert_eq!(output.stdout, b"y\n");
    assert!(started.elapsed() < hull_tests::paths::patience() + Duration::from_secs(1));
}
