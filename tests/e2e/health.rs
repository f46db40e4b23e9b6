//! Health checks.

use hull_tests::{Container, hull};

fn status(container: &Container) -> String {
    let table = hull(["ps", "-a"]).text();
    let row = table.lines().find(|line| line.contains(&container.name));
    row.unwrap_or_else(|| panic!("no {} in\n{table}", container.name)).to_owned()
}

/// There is no event that the command line shows, so it is asked until then.
fn wait_for(container: &Container, word: &str) {
    let deadline = std::time::Instant::now() + hull_tests::paths::patience();
    while !status(container).contains(word) {
        assert!(std::time::Instant::now() < deadline, "{word:?} did not come: {}", status(container));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn container_is_starting_then_healthy_then_unhealthy() {
    let options = [
        "--health-cmd",
        "test -e /well",
        "--health-interval",
        "1s",
        "--health-retries",
        "2",
        "--health-start-period",
        "1h",
    ];
    let container = Container::sleeping(options);
    assert!(status(&container).contains("(health: starting)"), "{}", status(&container));
    container.exec(["touch", "/well"]).exits(0);
    wait_for(&container, "(healthy)");
    container.exec(["rm", "/well"]).exits(0);
    wait_for(&container, "(unhealthy)");
    container.exec(["touch", "/well"]).exits(0);
    wait_for(&container, "(healthy)");
    let health = hull(["inspect", "-f", "{{json .State.Health}}", &container.name]).text();
    for part in [r#""Status":"healthy""#, r#""FailingStreak":0"#, r#""ExitCode":1"#, r#""ExitCode":0"#] {
        assert!(health.contains(part), "{part}: {health}");
    }
}

#[test]
fn check_that_takes_too_long_or_prints_much_is_a_failure_with_its_output() {
    let options = [
        "--health-cmd",
        "echo about to hang; sleep 1000",
        "--health-interval",
        "1s",
        "--health-timeout",
        "1s",
        "--health-retries",
        "1",
    ];
    let container = Container::sleeping(options);
    wait_for(&container, "(unhealthy)");
    let health = hull(["inspect", "-f", "{{json .State.Health.Log}}", &container.name]).text();
    assert!(health.contains("exceeded timeout (1s)") && health.contains("about to hang"), "{health}");
    assert!(health.contains(r#""ExitCode":-1"#), "{health}");
    // What hung is gone.
    container.exec(["sh", "-c", "until [ $(pidof sleep | wc -w) -le 2 ]; do sleep 0.1; done"]).exits(0);
}

#[test]
fn checks_run_as_the_container_does_and_end_with_it() {
    let check = "[ $(id -u) = 1234 ] && [ $A = b ] && [ $(pwd) = /tmp ]";
    let options = ["-u", "1234", "-e", "A=b", "-w", "/tmp", "--health-cmd", check, "--health-interval", "1s"];
    let container = Container::sleeping(options);
    wait_for(&container, "(healthy)");
    hull(["kill", &container.name]).exits(0);
    assert!(!status(&container).contains("healthy"), "{}", status(&container));
    hull(["start", &container.name]).exits(0);
    wait_for(&container, "(healthy)");
}

#[test]
fn words_that_contradict_each_other_are_refused() {
    for words in [
        ["--no-healthcheck", "--health-cmd=true"],
        ["--health-interval=-1s", "--health-cmd=true"],
        ["--health-interval=5", "--health-cmd=true"],
        ["--health-timeout=500us", "--health-cmd=true"],
        ["--health-retries=-1", "--health-cmd=true"],
    ] {
        hull_tests::Hull::run(words).args([hull_tests::BUSYBOX, "true"]).output().fails(125);
    }
    let container = Container::sleeping(["--no-healthcheck"]);
    assert!(!status(&container).contains("health"), "{}", status(&container));
}

#[test]
fn every_change_has_its_event() {
    let container = Container::sleeping([
        "--health-cmd",
        "test -e /well",
        "--health-interval",
        "1s",
        "--health-retries",
        "1",
    ]);
    let filter = format!("container={}", container.name);
    let words = ["events", "--since", "0", "--filter", &filter, "--format", "{{.Action}}"];
    let mut events = hull_tests::Hull::new(words).spawn();
    events.stdout.expect("health_status: unhealthy\n");
    container.exec(["touch", "/well"]).exits(0);
    events.stdout.expect("health_status: healthy\n");
}
