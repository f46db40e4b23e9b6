//! `kill -9` of what a container lives by: its supervisor, its VMM or agent.

use hull_engine::store::ContainerState;

use hull_tests::background::kill_process;
use hull_tests::{BUSYBOX, Background, Store, Traces, eventually, hull};

const SCRIPT: &str = "echo begun; exec sleep 1000";

fn started(args: &[&str]) -> Background {
    let container = Background::run([args, &[BUSYBOX, "sh", "-c", SCRIPT]].concat());
    container.expect_log("begun");
    container
}

#[test]
fn container_of_a_killed_supervisor_has_ended_and_says_why() {
    let container = started(&[]);
    kill_process(container.supervisor());
    // Any command tells; this one has nothing else to do with it.
    hull(["ps"]).exits(0);
    let row = container.row().unwrap();
    assert_eq!((row.state, row.exit_code), (ContainerState::Exited, 137));
    assert!(row.error.contains("supervisor"), "{row:?}");
    assert_eq!(container.hull(["wait"]).text(), "137");
    container.hull(["start"]).exits(0);
    assert_eq!(container.row().unwrap().error, "");
}

#[test]
fn foreground_client_of_a_killed_supervisor_is_told() {
    let container = Background::create([BUSYBOX, "sh", "-c", SCRIPT]);
    let mut running = container.command(["start", "-a"]).spawn();
    running.stdout.expect("begun");
    kill_process(container.supervisor());
    running.finish().fails(1);
}

#[test]
fn nothing_is_left_of_a_sandbox_whose_supervisor_was_killed() {
    let store = Store::with_busybox();
    let mut traces = Traces::follow(&store.root, &store.run);
    let container = Background::run_in(&store, ["--rm", BUSYBOX, "sleep", "1000"]);
    kill_process(container.supervisor());
    store.hull(["ps"]).output().exits(0);
    container.expect_gone();
    let left = traces.left();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn policy_starts_a_container_again_whose_supervisor_was_killed() {
    for policy in ["always", "on-failure", "unless-stopped"] {
        let container = started(&["--restart", policy]);
        kill_process(container.supervisor());
        hull(["ps"]).exits(0);
        container.expect_state(ContainerState::Running);
        eventually("it begins again", || (container.log().matches("begun").count() == 2).then_some(()));
    }
}

#[test]
fn supervisor_killed_while_its_container_was_stopped_by_a_user_stays_down() {
    let container = started(&["--restart", "always"]);
    container.hull(["stop", "-t", "0"]).exits(0);
    hull(["ps"]).exits(0);
    assert_eq!(container.row().unwrap().state, ContainerState::Exited);
}

#[test]
fn container_of_a_killed_machine_has_ended_and_says_why() {
    let container = started(&[]);
    kill_process(container.agent());
    let row = container.expect_exit(137);
    assert!(!row.error.is_empty(), "{row:?}");
    container.hull(["start"]).exits(0);
    container.expect_state(ContainerState::Running);
}

#[test]
fn foreground_client_of_a_killed_machine_is_told_the_cause() {
    let container = Background::create([BUSYBOX, "sh", "-c", SCRIPT]);
    let mut running = container.command(["start", "-a"]).spawn();
    running.stdout.expect("begun");
    kill_process(container.agent());
    let line = running.finish().fails(1);
    assert!(line.contains("killed by SIGKILL"), "{line}");
}

#[test]
fn policy_starts_a_container_again_whose_machine_was_killed() {
    let container = started(&["--restart", "on-failure"]);
    kill_process(container.agent());
    eventually("it begins again", || (container.log().matches("begun").count() == 2).then_some(()));
    let row = container.expect_state(ContainerState::Running);
    assert_eq!(row.restarts, 1);
}

#[test]
fn machine_of_a_container_with_rm_takes_it_along() {
    let container = started(&["--rm"]);
    kill_process(container.agent());
    container.expect_gone();
}
