//! Signals that hull gets are the container's.

use nix::sys::signal::Signal;

use hull_tests::{BUSYBOX, Hull, hull, unique};

/// Starts a shell that names the signals it gets, and waits until it is ready for them.
fn listener() -> hull_tests::Running {
    let script = "for s in HUP INT QUIT USR1 USR2 TERM; do trap \"echo got $s\" $s; done; \
                  trap 'echo got ALRM; exit 3' ALRM; echo ready; while true; do sleep 0.1; done";
    let mut running = Hull::run([BUSYBOX, "sh", "-c", script]).spawn();
    running.stdout.expect("ready");
    running
}

#[test]
fn signals_are_passed_on_and_do_not_end_hull() {
    let mut running = listener();
    for (signal, name) in [
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
        (Signal::SIGTERM, "TERM"),
    ] {
        running.signal(signal);
        running.stdout.expect(&format!("got {name}"));
    }
    running.signal(Signal::SIGALRM);
    running.finish().exits(3);
}

#[test]
fn command_under_init_ends_by_the_signal_sent_to_hull() {
    let mut running = Hull::run(["--init", BUSYBOX, "sh", "-c", "echo ready; exec sleep 1000"]).spawn();
    running.stdout.expect("ready");
    running.signal(Signal::SIGTERM);
    running.finish().exits(143);
}

#[test]
fn signal_of_the_very_first_moment_is_not_lost() {
    let running = Hull::run(["--init", BUSYBOX, "sleep", "1000"]).spawn();
    // However far the start is: before the container, hull ends; after, the command does.
    std::thread::sleep(std::time::Duration::from_millis(2));
    running.signal(Signal::SIGTERM);
    running.finish().exits(143);
}

#[test]
fn stopped_hull_goes_on_when_continued() {
    let name = unique("stopped");
    let mut running =
        Hull::run(["--name", &name, BUSYBOX, "sh", "-c", "echo ready; sleep 1; echo done"]).spawn();
    running.stdout.expect("ready");
    running.signal(Signal::SIGSTOP);
    assert!(hull(["ps", "-a"]).text().contains(&name));
    running.signal(Signal::SIGCONT);
    running.stdout.expect("done");
    running.finish().exits(0);
}
