//! Limits that are the machine's, and not the container's in it.

use hull_tests::{BUSYBOX, Container, hull, run};

#[test]
fn disk_has_the_size_asked_for() {
    let script = "df -m / | tail -n 1 | awk '{print $2}'";
    let size = run(["--storage-opt", "size=128m", BUSYBOX, "sh", "-c", script]).text();
    assert!((100..=128).contains(&size.parse::<u32>().unwrap()), "{size}");
}

#[test]
fn running_machine_is_given_no_more_memory_than_it_was_built_with() {
    let container = Container::sleeping(["-m", "64m"]);
    let line = hull(["update", "-m", "128m", &container.name]).fails(1);
    assert!(line.contains("built with room for a limit of 64 MiB"), "{line}");
    hull(["update", "-m", "32m", &container.name]).exits(0);
    hull(["update", "-m", "64m", &container.name]).exits(0);
    hull(["kill", &container.name]).exits(0);
    hull(["update", "-m", "128m", &container.name]).exits(0);
    hull(["start", &container.name]).exits(0);
    let usage = hull(["stats", "--no-stream", "--format", "{{.MemUsage}}", &container.name]).text();
    assert!(usage.ends_with(" / 128MiB"), "{usage}");
}

#[test]
fn debug_runs_beside_the_container() {
    let container = Container::sleeping(["-h", "inside", "--cap-drop", "ALL"]);
    // /proc is the container's, in which a process from outside has no number.
    let script =
        "hostname; mkdir /p; mount -t proc proc /p; grep CapEff /p/self/status; tr '\\0' ' ' < /p/1/cmdline";
    let text = hull_tests::Hull::new(["debug", &container.name, "sh", "-c", script]).output().text();
    assert!(!text.contains("inside") && text.contains("000001ffffffffff"), "{text}");
    assert!(!text.contains("sleep"), "the first process is the machine's: {text}");
}
