//! `rm` and `rename`.

use hull_engine::store::ContainerState;

use hull_tests::{BUSYBOX, Background, Traces, hull, paths, unique};

#[test]
fn what_runs_is_removed_by_force_only() {
    let container = Background::run([BUSYBOX, "sleep", "1000"]);
    let line = container.hull(["rm"]).fails(1);
    assert!(line.contains("running"), "{line}");
    assert_eq!(container.row().unwrap().state, ContainerState::Running);
    assert_eq!(container.hull(["rm", "-f"]).text(), container.name);
    container.expect_gone();
}

#[test]
fn created_and_ended_and_paused_containers_are_removed() {
    let created = Background::create([BUSYBOX, "true"]);
    assert_eq!(created.hull(["rm"]).text(), created.name);
    let ended = Background::run([BUSYBOX, "true"]);
    ended.hull(["wait"]).exits(0);
    assert_eq!(ended.hull(["rm"]).text(), ended.name);
    let paused = Background::run([BUSYBOX, "sleep", "1000"]);
    paused.hull(["pause"]).exits(0);
    assert_eq!(paused.hull(["rm", "-f"]).text(), paused.name);
    for container in [created, ended, paused] {
        container.expect_gone();
    }
}

#[test]
fn of_several_those_that_can_go_go() {
    let running = Background::run([BUSYBOX, "sleep", "1000"]);
    let created = [(); 2].map(|()| Background::create([BUSYBOX, "true"]));
    let [one, two] = &created;
    let output = hull(["rm", &one.name, &running.name, "no-such-container", &two.name]).exits(1);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n{}\n", one.name, two.name));
    assert_eq!(output.stderr.lines().count(), 2, "{}", output.stderr);
    assert!(running.row().is_some() && one.row().is_none() && two.row().is_none());
}

#[test]
fn nothing_is_left_of_what_was_removed() {
    let mut traces = Traces::follow(&paths::shared_root(), &paths::shared_run());
    let container = Background::run(["-m", "64m", BUSYBOX, "sh", "-c", "echo x > /file; exec sleep 1000"]);
    let id = container.id.clone();
    assert!(traces.now().iter().any(|trace| trace.contains(&id)));
    container.hull(["rm", "-f"]).exits(0);
    hull_tests::eventually("nothing is left", || {
        traces.now().iter().all(|trace| !trace.contains(&id)).then_some(())
    });
}

#[test]
fn renamed_container_answers_to_its_new_name_only() {
    let container = Background::run([BUSYBOX, "sleep", "1000"]);
    let other = Background::create([BUSYBOX, "true"]);
    let name = unique("renamed");
    assert_eq!(hull(["rename", &container.name, &name]).text(), "");
    hull(["stop", "-t", "0", &container.name]).fails(1);
    assert_eq!(hull(["stop", "-t", "0", &name]).text(), name);
    for bad in [other.name.as_str(), &name, "", "a b"] {
        hull(["rename", &name, bad]).fails(1);
    }
    hull(["rename", "no-such-container", &unique("x")]).fails(1);
    hull(["rename", &name, &container.name]).exits(0);
    assert_eq!(container.row().unwrap().name, container.name);
}

#[test]
fn wrong_input_is_told_in_a_line() {
    for command in ["start", "stop", "restart", "kill", "wait", "pause", "unpause", "rm"] {
        hull([command]).fails(1);
        let line = hull([command, "no-such-container"]).fails(1);
        assert!(line.contains("no-such-container"), "{line}");
        hull([command, "--no-such-option", "x"]).fails(125);
    }
    hull(["stop", "-t", "soon", "x"]).fails(1);
}
