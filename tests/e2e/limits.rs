//! What limits do. How they are written is in the conformance tables.

use hull_tests::{BUSYBOX, run};

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
