//! What limits do. How they are written is in the conformance tables.

use hull_tests::{BUSYBOX, Container, Hull, hull, run};

/// A limit's value in the container's own cgroup: v2's file, else v1's.
fn limit(option: &[&str], v2: &str, v1: &str) -> String {
    let script = format!("cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}");
    let mut args: Vec<&str> = option.to_vec();
    args.extend([BUSYBOX, "sh", "-c", &script]);
    hull_tests::Hull::run(args).output().text()
}

#[test]
fn limits_are_seen_in_the_containers_cgroup() {
    assert_eq!(limit(&["-m", "64m"], "memory.max", "memory/memory.limit_in_bytes"), "67108864");
    assert_eq!(limit(&["--pids-limit", "33"], "pids.max", "pids/pids.max"), "33");
    let cpu = limit(&["--cpus", "0.5"], "cpu.max", "cpu/cpu.cfs_quota_us");
    assert!(cpu == "50000 100000" || cpu == "50000", "{cpu}");
}

#[test]
fn command_above_its_memory_limit_is_killed_with_137() {
    let script = "exec tail /dev/zero";
    run(["-m", "32m", BUSYBOX, "sh", "-c", script]).exits(137);
}

#[test]
fn child_above_the_memory_limit_is_killed_and_the_command_goes_on() {
    // Where the whole container is killed at once (memory.oom.group) the command would end, too.
    let script = "tail /dev/zero; echo child: $?";
    assert_eq!(run(["-m", "32m", BUSYBOX, "sh", "-c", script]).text().lines().last(), Some("child: 137"));
}

#[test]
fn memory_below_the_limit_can_be_used() {
    let script = "dd if=/dev/zero bs=20M count=1 of=/dev/null 2>/dev/null && echo used";
    assert_eq!(run(["-m", "64m", BUSYBOX, "sh", "-c", script]).text(), "used");
}

#[test]
fn no_more_processes_start_than_the_limit_says() {
    let script = "i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done; echo all started";
    let output = run(["--pids-limit", "20", BUSYBOX, "sh", "-c", script]);
    assert!(output.code != 0 && output.stderr.contains("fork"), "{}", output.report("limit not felt"));
}

#[test]
fn file_size_limit_is_felt() {
    let output = run([
        "--ulimit",
        "fsize=4096",
        BUSYBOX,
        "sh",
        "-c",
        "head -c 10000 /dev/zero > /tmp/f; stat -c %s /tmp/f",
    ]);
    assert_eq!(output.stdout, b"4096\n", "{}", output.report("fsize"));
}

#[test]
fn open_files_are_limited_and_a_limit_above_the_hosts_is_clamped() {
    let text = run(["--ulimit", "nofile=1000000000:1000000000", BUSYBOX, "sh", "-c", "ulimit -n"]).text();
    assert!(text.parse::<u64>().unwrap() >= 1024, "{text}");
}

/// A container's own view of `--memory` and the like differs with cgroup versions; what it feels does not.
fn memory_limit(container: &Container) -> String {
    let usage = hull(["stats", "--no-stream", "--format", "{{.MemUsage}}", &container.name]).text();
    usage.rsplit(" / ").next().unwrap().to_owned()
}

#[test]
fn memory_can_be_updated_while_the_container_runs_and_while_it_does_not() {
    let container = Container::sleeping(["-m", "128m"]);
    assert_eq!(memory_limit(&container), "128MiB");
    assert_eq!(hull(["update", "-m", "32m", &container.name]).text(), container.name);
    assert_eq!(memory_limit(&container), "32MiB");
    container.exec(["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"]).exits(137);
    hull(["update", "-m", "64m", &container.name]).exits(0);
    assert_eq!(memory_limit(&container), "64MiB");
    hull(["kill", &container.name]).exits(0);
    hull(["update", "-m", "96m", "--memory-reservation", "32m", &container.name]).exits(0);
    hull(["start", &container.name]).exits(0);
    assert_eq!(memory_limit(&container), "96MiB");
}

#[test]
fn processes_can_be_limited_and_freed_later() {
    let container = Container::sleeping([]);
    let script = "i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i+1)); done; echo all started";
    assert_eq!(container.exec(["sh", "-c", script]).text(), "all started");
    hull(["update", "--pids-limit", "10", &container.name]).exits(0);
    let output = container.exec(["sh", "-c", script]);
    assert!(output.code != 0 && output.stderr.contains("fork"), "{}", output.report("limit not felt"));
    hull(["update", "--pids-limit", "-1", &container.name]).exits(0);
    assert_eq!(container.exec(["sh", "-c", script]).text(), "all started");
}

#[test]
fn cpus_can_be_chosen_at_the_start_and_later() {
    let allowed = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    let container = Container::sleeping(["--cpuset-cpus", "0"]);
    assert!(container.exec(allowed).text().ends_with("\t0"));
    hull(["update", "--cpuset-cpus", "0", "--cpu-shares", "512", &container.name]).exits(0);
    assert!(container.exec(allowed).text().ends_with("\t0"));
}

#[test]
fn quota_of_cpu_time_is_felt() {
    let options = ["--cpu-period", "50000", "--cpu-quota", "10000", "--cpu-shares", "2048"];
    let container = Container::start(options, ["sh", "-c", "while :; do :; done"]);
    let text = hull(["stats", "--no-stream", "--format", "{{.CPUPerc}}", &container.name]).text();
    let percent: f64 = text.trim_end_matches('%').parse().unwrap();
    assert!(percent < 40.0, "{text}");
}

#[test]
fn shared_memory_has_the_size_asked_for() {
    let script = "df -k /dev/shm | tail -n 1 | awk '{print $2}'";
    assert_eq!(run(["--shm-size", "8m", BUSYBOX, "sh", "-c", script]).text(), "8192");
    assert_eq!(run(["--shm-size", "0", BUSYBOX, "sh", "-c", script]).text(), "65536");
}

#[test]
fn restart_policy_can_be_updated() {
    let container = Container::start([], ["sh", "-c", "sleep 1; exit 3"]);
    hull(["update", "--restart", "on-failure:2", &container.name]).exits(0);
    assert_eq!(hull(["wait", &container.name]).text(), "3");
    let count = hull(["inspect", "-f", "{{.RestartCount}}", &container.name]).text();
    assert_eq!(count, "2");
    let line = Hull::run(["-d", "--name", "unused", "--restart", "always", BUSYBOX]).output().fails(125);
    assert!(line.contains("--rm"), "{line}");
}

#[test]
fn several_updates_fail_one_by_one() {
    let container = Container::sleeping([]);
    let output = hull(["update", "--cpu-shares", "300", "no-such-container", &container.name]).exits(1);
    assert_eq!(output.stdout, format!("{}\n", container.name).as_bytes());
    assert!(output.stderr.contains("No such container: no-such-container"), "{}", output.stderr);
    hull(["update", &container.name]).fails(1);
}

#[test]
fn limits_out_of_bounds_are_refused_before_anything_is_made() {
    for (words, told) in [
        (["-m=64m", "--memory-reservation=128m"], "reservation"),
        (["-m=64m", "--memory-swap=32m"], "--memory-swap"),
        (["--memory-swap=64m", "--init"], "--memory-swap"),
        (["--memory-reservation=1m", "--init"], "6m"),
        (["--cpus=1", "--cpu-quota=5000"], "--cpus conflicts"),
        (["--cpus=1", "--cpu-period=5000"], "--cpus conflicts"),
        (["--cpu-period=10", "--init"], "1000"),
        (["--cpu-quota=10", "--init"], "1000"),
        (["--cpu-shares=1", "--init"], "262144"),
        (["--cpuset-cpus=8000", "--init"], "this machine has"),
        (["--cpuset-cpus=1-0", "--init"], "1-0"),
        (["--shm-size=-1", "--init"], "-1"),
        (["--device-read-bps=/dev/null:1m", "--init"], "no such block device"),
        (["--device-write-iops=/dev/vda:1m", "--init"], "PATH:RATE"),
        (["--storage-opt=size=1k", "--init"], "64m"),
        (["--storage-opt=colour=1g", "--init"], "colour"),
    ] {
        let line = Hull::run(words).args([BUSYBOX, "true"]).output().fails(125);
        assert!(line.contains(told), "{words:?}: {line}");
    }
}
