//! `--restart`: who starts again, how often, and who holds it off.

use hull_engine::store::ContainerState;

use hull_tests::{BUSYBOX, Background, Hull, eventually};

fn begun(container: &Background) -> usize {
    container.log().matches("begun").count()
}

#[test]
fn failures_are_started_again_so_many_times() {
    let container = Background::run(["--restart", "on-failure:2", BUSYBOX, "sh", "-c", "echo begun; exit 3"]);
    assert_eq!(container.hull(["wait"]).text(), "3");
    let row = container.expect_exit(3);
    assert_eq!((begun(&container), row.restarts), (3, 2));
    // A user's start counts anew.
    container.hull(["start"]).exits(0);
    container.hull(["wait"]).exits(0);
    assert_eq!((begun(&container), container.expect_exit(3).restarts), (6, 2));
}

#[test]
fn success_is_not_started_again_on_failure() {
    let container = Background::run(["--restart", "on-failure", BUSYBOX, "echo", "begun"]);
    assert_eq!(container.hull(["wait"]).text(), "0");
    assert_eq!((begun(&container), container.expect_exit(0).restarts), (1, 0));
}

#[test]
fn always_means_success_too_until_a_user_stops_it() {
    for policy in ["always", "unless-stopped"] {
        let container = Background::run(["--restart", policy, BUSYBOX, "sh", "-c", "echo begun; exit 0"]);
        eventually("three runs", || (begun(&container) >= 3).then_some(()));
        container.hull(["stop"]).exits(0);
        let row = container.expect_state(ContainerState::Exited);
        assert!(row.stopped && row.restarts >= 2, "{row:?}");
        let runs = begun(&container);
        // Nor does a later command start it.
        Hull::new(["ps", "-a"]).output().exits(0);
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(begun(&container), runs);
        container.hull(["start"]).exits(0);
        eventually("runs again", || (begun(&container) > runs + 1).then_some(()));
    }
}

#[test]
fn stopped_while_it_runs_a_container_stays_so() {
    let container =
        Background::run(["--restart", "always", BUSYBOX, "sh", "-c", "echo begun; exec sleep 1000"]);
    container.expect_log("begun");
    container.hull(["stop", "-t", "0"]).exits(0);
    container.expect_exit(137);
    container.hull(["restart"]).exits(0);
    container.expect_state(ContainerState::Running);
    container.hull(["kill"]).exits(0);
    container.expect_exit(137);
    assert_eq!(begun(&container), 2);
}

#[test]
fn container_about_to_start_again_is_listed_and_removed() {
    let container = Background::run(["--restart", "always", BUSYBOX, "sh", "-c", "echo begun; exit 9"]);
    // Each rest is twice as long as the one before.
    eventually("five runs", || (begun(&container) >= 5).then_some(()));
    let row = container.expect_state(ContainerState::Restarting);
    assert_eq!(row.exit_code, 9);
    let table = Hull::new(["ps"]).output().text();
    assert!(table.lines().any(|l| l.contains(&container.name) && l.contains("Restarting (9)")), "{table}");
    container.hull(["rm"]).fails(1);
    container.hull(["rm", "-f"]).exits(0);
    container.expect_gone();
}

#[test]
fn what_is_about_to_start_again_is_killed_started_at_once_and_removed() {
    let container = Background::run(["--restart", "always", BUSYBOX, "sh", "-c", "echo begun; exit 3"]);
    let resting =
        || eventually("rests", || (container.row()?.state == ContainerState::Restarting).then_some(()));
    // Each rest is twice as long as the one before; the sixth is longer than any command here takes.
    eventually("six runs", || (begun(&container) >= 6).then_some(()));
    resting();
    container.hull(["kill"]).exits(0);
    assert!(container.expect_exit(3).stopped);
    let before = begun(&container);
    container.hull(["start"]).exits(0);
    eventually("runs", || (begun(&container) > before).then_some(()));
    let runs = begun(&container);
    container.hull(["restart"]).exits(0);
    eventually("runs again", || (begun(&container) > runs).then_some(()));
    container.hull(["rm", "-f"]).exits(0);
    container.expect_gone();
}

#[test]
fn what_starts_again_whenever_it_is_killed_is_removed_by_force() {
    let container = Background::run(["--restart", "always", BUSYBOX, "sleep", "1000"]);
    container.hull(["rm", "-f"]).exits(0);
    container.expect_gone();
}

#[test]
fn policies_that_are_none_are_refused() {
    for policy in ["never", "always:3", "on-failure:-1", "on-failure:x", "on-failure:"] {
        let line = Hull::keep(["--restart", policy, BUSYBOX, "true"]).output().fails(125);
        assert!(line.contains(policy), "{line}");
    }
    let line = Hull::run(["--restart", "always", BUSYBOX, "true"]).output().fails(125);
    assert!(line.contains("--rm") && line.contains("--restart"), "{line}");
}
