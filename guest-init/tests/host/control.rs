//! Pausing, measuring, limiting containers that run.

use std::thread;
use std::time::Duration;

use hull_guest::protocol::*;

use crate::fixture::{Agent, args, read_until};

fn running(agent: &Agent, script: &str) -> (ContainerSpec, std::os::unix::net::UnixStream) {
    let spec = agent.spec(&["sh", "-c", script]);
    agent.create(&spec).unwrap();
    let stdout = agent.attach(&spec.id, Stream::Stdout);
    agent.start_container(&spec.id).unwrap();
    (spec, stdout)
}

fn stats(agent: &Agent, id: &str) -> Stats {
    match agent.call(&Request::Stats(args(id))) {
        Ok(Outcome::Stats(stats)) => stats,
        other => panic!("{other:?}"),
    }
}

#[test]
fn paused_container_uses_no_time_until_it_is_resumed() {
    let Some(agent) = Agent::start() else { return };
    let (spec, _stdout) = running(&agent, "while :; do :; done");
    let call = |request: fn(ContainerArgs) -> Request| agent.call(&request(args(&spec.id)));
    assert_eq!(call(Request::Resume).unwrap_err().kind, ErrorKind::State);
    for _ in 0..5 {
        call(Request::Pause).unwrap();
        let before = stats(&agent, &spec.id);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(call(Request::Pause).unwrap_err().kind, ErrorKind::State);
        let error = agent.create_exec(&agent.exec(&spec, &["true"])).unwrap_err();
        assert!(error.kind == ErrorKind::State && error.message.contains("is paused"), "{error}");
        let after = stats(&agent, &spec.id);
        // A frozen task's way to its stop is counted when it is there.
        assert!(after.cpu_ns > 0 && after.cpu_ns - before.cpu_ns < 5_000_000, "{before:?} {after:?}");
        assert!(after.system_ns > before.system_ns);
        call(Request::Resume).unwrap();
    }
    agent.delete(&spec.id);
    assert_eq!(call(Request::Pause).unwrap_err().kind, ErrorKind::NoContainer);
}

#[test]
fn paused_container_can_be_killed_and_deleted() {
    let Some(agent) = Agent::start() else { return };
    let (spec, _stdout) = running(&agent, "sleep 600 & sleep 600");
    let exec = agent.exec(&spec, &["sleep", "600"]);
    agent.create_exec(&exec).unwrap();
    agent.call(&Request::Pause(args(&spec.id))).unwrap();
    assert!(agent.start_container(&exec.exec_id).unwrap_err().message.contains("is paused"));
    agent.call(&Request::Signal(SignalArgs { container: spec.id.clone(), signal: 9 })).unwrap();
    assert_eq!(agent.wait(&spec.id).code, 137);
    agent.delete(&spec.id);
    let (spec, _stdout) = running(&agent, "sleep 600");
    agent.call(&Request::Pause(args(&spec.id))).unwrap();
    agent.delete(&spec.id);
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}

#[test]
fn statistics_tell_what_is_used_and_what_may_be() {
    let Some(agent) = Agent::start() else { return };
    let script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=8 2>/dev/null; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 600";
    let mut spec = agent.spec(&["sh", "-c", script]);
    spec.resources = Resources { memory_bytes: Some(64 << 20), pids: Some(20), ..Resources::default() };
    agent.create(&spec).unwrap();
    let mut stdout = agent.attach(&spec.id, Stream::Stdout);
    agent.start_container(&spec.id).unwrap();
    read_until(&mut stdout, "done");
    let told = stats(&agent, &spec.id);
    assert!(told.cpu_ns > 1_000_000 && told.cpu_user_ns + told.cpu_system_ns <= told.cpu_ns * 2, "{told:?}");
    assert_eq!((told.memory_limit_bytes, told.pids_limit), (64 << 20, 20));
    assert!((8 << 20..64 << 20).contains(&told.memory_bytes), "{told:?}");
    assert!((1..=2).contains(&told.pids) && told.online_cpus > 0 && told.network.is_empty(), "{told:?}");
    agent.delete(&spec.id);
    let (spec, _stdout) = running(&agent, "sleep 600");
    let told = stats(&agent, &spec.id);
    assert!(
        told.memory_limit_bytes > 256 << 20 && told.pids_limit == 0 && told.pids > 0,
        "no limit: {told:?}"
    );
    agent.delete(&spec.id);
}

#[test]
fn processes_are_listed_with_the_containers_names() {
    let Some(agent) = Agent::start() else { return };
    let (spec, mut stdout) = running(&agent, "sleep 601 & echo up; sleep 602");
    read_until(&mut stdout, "up");
    let mut exec = agent.exec(&spec, &["sleep", "603"]);
    exec.process.user = "app".into();
    exec.process.terminal = Some(TerminalSize { columns: 80, rows: 24 });
    let Ok(Outcome::Created(Created { pid })) = agent.create_exec(&exec) else { panic!() };
    agent.start_container(&exec.exec_id).unwrap();
    let is_first_sleeper =
        |process: &ProcessInfo| process.user == "root" && process.command == "sleep 601".into();
    // The shell does not say when its child has become that.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let list = loop {
        let Ok(Outcome::Processes(list)) = agent.call(&Request::Top(args(&spec.id))) else { panic!() };
        if list.iter().any(is_first_sleeper) {
            break list;
        }
        assert!(std::time::Instant::now() < end, "{list:?}");
    };
    assert!(list.len() >= 3, "{list:?}");
    let sleeper = list.iter().find(|process| process.pid == pid).unwrap();
    assert_eq!((sleeper.uid, sleeper.user.as_str(), sleeper.tty.as_str()), (1000, "app", "pts/0"));
    assert_eq!(sleeper.command, "sleep 603".into());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(sleeper.start_unix.abs_diff(now) < 60, "{} {now}", sleeper.start_unix);
    agent.delete(&spec.id);
    assert_eq!(agent.call(&Request::Top(args(&spec.id))).unwrap_err().kind, ErrorKind::NoContainer);
}

/// A container's file in whichever hierarchy has it.
fn cgroup_file(spec: &ContainerSpec, name: &str) -> String {
    let path = spec.cgroup.clone().unwrap();
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mountinfo.lines().filter(|line| line.contains(" - cgroup"));
    let mut files = mounts.filter_map(|line| {
        let point = line.split(' ').nth(4)?;
        std::fs::read_to_string(format!("{point}/{path}/{name}")).ok()
    });
    files.next().unwrap_or_else(|| panic!("no {name} of {path}")).trim().to_owned()
}

fn is_v1(spec: &ContainerSpec) -> bool {
    let path = spec.cgroup.clone().unwrap();
    std::path::Path::new("/sys/fs/cgroup/memory").join(path).exists()
}

fn check_limits(spec: &ContainerSpec, wanted: &[(&str, &str, &str)]) {
    for (v1, v2, value) in wanted {
        let name = if is_v1(spec) { v1 } else { v2 };
        assert_eq!(cgroup_file(spec, name), *value, "{name}");
    }
}

fn update(agent: &Agent, id: &str, resources: Resources) -> Result<Outcome, CallError> {
    agent.call(&Request::Update(UpdateArgs { container: id.into(), resources }))
}

#[test]
fn limits_are_set_at_creation() {
    let Some(agent) = Agent::start() else { return };
    let mut spec = agent.spec(&["sleep", "600"]);
    spec.resources = Resources {
        memory_bytes: Some(64 << 20),
        memory_reservation_bytes: Some(32 << 20),
        memory_swap_bytes: Some(u64::MAX),
        cpu_shares: Some(512),
        cpu_period_us: Some(50_000),
        cpu_quota_us: Some(25_000),
        cpuset_cpus: Some("0".into()),
        pids: Some(u64::MAX),
        ..Resources::default()
    };
    agent.create(&spec).unwrap();
    agent.start_container(&spec.id).unwrap();
    let both = [
        ("memory.limit_in_bytes", "memory.max", "67108864"),
        ("memory.soft_limit_in_bytes", "memory.low", "33554432"),
        ("cpuset.cpus", "cpuset.cpus", "0"),
        ("pids.max", "pids.max", "max"),
    ];
    check_limits(&spec, &both);
    if is_v1(&spec) {
        let v1 = [("cpu.shares", "512"), ("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "25000")];
        v1.iter().for_each(|(name, value)| assert_eq!(cgroup_file(&spec, name), *value));
    }
    let affinity =
        std::fs::read_to_string(format!("/proc/{}/status", cgroup_file(&spec, "cgroup.procs"))).unwrap();
    assert!(affinity.contains("Cpus_allowed_list:\t0\n"), "{affinity}");
    agent.delete(&spec.id);
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}

#[test]
fn update_limits_a_container_that_runs_without_limits() {
    let Some(agent) = Agent::start() else { return };
    let (spec, mut stdout) = running(&agent, "sleep 600 & sleep 600 & echo up; wait");
    read_until(&mut stdout, "up");
    let limits = Resources {
        memory_bytes: Some(64 << 20),
        cpu_millis: Some(500),
        pids: Some(20),
        cpuset_cpus: Some("0".into()),
        ..Resources::default()
    };
    update(&agent, &spec.id, limits).unwrap();
    let wanted = [
        ("memory.limit_in_bytes", "memory.max", "67108864"),
        ("pids.max", "pids.max", "20"),
        ("cpuset.cpus", "cpuset.cpus", "0"),
    ];
    check_limits(&spec, &wanted);
    assert_eq!(cgroup_file(&spec, "pids.current"), "3");
    let raised = Resources { memory_bytes: Some(128 << 20), pids: Some(u64::MAX), ..Resources::default() };
    update(&agent, &spec.id, raised).unwrap();
    check_limits(
        &spec,
        &[("memory.limit_in_bytes", "memory.max", "134217728"), ("pids.max", "pids.max", "max")],
    );
    check_limits(&spec, &[("cpuset.cpus", "cpuset.cpus", "0")]);
    // Whoever enters later is under the same limits.
    let exec = agent.exec(&spec, &["sleep", "600"]);
    agent.create_exec(&exec).unwrap();
    assert_eq!(cgroup_file(&spec, "pids.current"), "4");
    agent.delete(&spec.id);
    assert!(agent.cgroups_left().is_empty(), "{:?}", agent.cgroups_left());
}

#[test]
fn limits_that_cannot_be_are_refused_by_field() {
    let Some(agent) = Agent::start() else { return };
    let (spec, _stdout) = running(&agent, "sleep 600");
    let none = Resources::default;
    let io = |device: &str| IoLimit {
        device: device.into(),
        read_bps: Some(1),
        write_bps: None,
        read_iops: None,
        write_iops: None,
    };
    let cases = [
        (Resources { shm_bytes: Some(1), ..none() }, "shm_bytes"),
        (Resources { cpu_millis: Some(1), cpu_quota_us: Some(5000), ..none() }, "cpu_millis"),
        (Resources { cpu_shares: Some(1), ..none() }, "cpu_shares"),
        (Resources { cpuset_cpus: Some("0-8000".into()), ..none() }, "cpuset_cpus"),
        (Resources { cpuset_cpus: Some("x".into()), ..none() }, "cpuset_cpus"),
        (
            Resources { memory_bytes: Some(2 << 20), memory_swap_bytes: Some(1 << 20), ..none() },
            "memory_swap_bytes",
        ),
        (Resources { io: vec![io("/dev/null")], ..none() }, "block device"),
    ];
    for (resources, field) in cases {
        let error = update(&agent, &spec.id, resources).unwrap_err();
        assert!(error.kind == ErrorKind::Invalid && error.message.contains(field), "{field}: {error}");
    }
    agent.delete(&spec.id);
}
