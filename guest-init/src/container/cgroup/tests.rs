use super::*;
use crate::protocol::IoLimit;

/// A cgroup that is but a folder of files: what is written can be read.
fn pretend(version: Version, files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
    let folder = tempfile::TempDir::new().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let group = Group {
        version,
        path: folder.path().to_str().unwrap().to_owned(),
        own_depth: 0,
        folder: rustix::fs::open(folder.path(), flags, Mode::empty()).unwrap(),
        shown: true,
        is_late: false,
    };
    (folder, Cgroup { groups: vec![group] })
}

fn content(folder: &tempfile::TempDir, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).unwrap()
}

#[test]
fn limits_have_their_words_on_v2() {
    let files =
        ["memory.max", "memory.low", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max", "cpuset.cpus"];
    let empty: Vec<_> = files.iter().map(|name| (*name, "")).collect();
    let (folder, cgroup) = pretend(Version::V2, &empty);
    let resources = Resources {
        memory_bytes: Some(100_000),
        memory_reservation_bytes: Some(50_000),
        memory_swap_bytes: Some(150_000),
        cpu_shares: Some(1024),
        cpu_millis: Some(1500),
        cpuset_cpus: Some("0-1".into()),
        pids: Some(u64::MAX),
        ..Resources::default()
    };
    cgroup.update(&resources).unwrap();
    let written = files.map(|name| content(&folder, name));
    assert_eq!(written, ["100000", "50000", "50000", "150000 100000", "39", "max", "0-1"]);
}

#[test]
fn what_an_update_does_not_name_stays_on_v2() {
    let (folder, cgroup) = pretend(
        Version::V2,
        &[("cpu.max", "max 50000\n"), ("memory.max", "100000\n"), ("memory.swap.max", "0\n")],
    );
    let quota = Resources { cpu_quota_us: Some(20_000), ..Resources::default() };
    cgroup.update(&quota).unwrap();
    assert!(content(&folder, "cpu.max").starts_with("20000 50000"));
    let swap = Resources { memory_swap_bytes: Some(130_000), ..Resources::default() };
    cgroup.update(&swap).unwrap();
    assert!(content(&folder, "memory.swap.max").starts_with("30000"));
    assert_eq!(content(&folder, "memory.max"), "100000\n");
}

#[test]
fn usage_is_read_from_v2() {
    let files = [
        (
            "cpu.stat",
            "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 3\nnr_throttled 2\nthrottled_usec 1\n",
        ),
        ("memory.current", "5000\n"),
        ("memory.max", "max\n"),
        ("memory.stat", "anon 1\nfile 3000\ninactive_file 2000\n"),
        ("pids.current", "4\n"),
        ("pids.max", "9\n"),
        ("io.stat", "254:0 rbytes=10 wbytes=20 rios=1\n"),
    ];
    let (_folder, cgroup) = pretend(Version::V2, &files);
    let stats = cgroup.usage(1 << 30);
    assert_eq!((stats.cpu_ns, stats.cpu_user_ns, stats.cpu_system_ns), (30_000, 10_000, 20_000));
    assert_eq!((stats.periods, stats.throttled_periods, stats.throttled_ns), (3, 2, 1000));
    assert_eq!(
        (stats.memory_bytes, stats.memory_cache_bytes, stats.memory_limit_bytes),
        (3000, 3000, 1 << 30)
    );
    assert_eq!((stats.pids, stats.pids_limit), (4, 9));
    assert_eq!((stats.block_read_bytes, stats.block_write_bytes), (10, 20));
}

#[test]
fn only_block_devices_are_limited() {
    let (_folder, cgroup) = pretend(Version::V2, &[("io.max", "")]);
    let limit = |device: &str| IoLimit {
        device: device.into(),
        read_bps: Some(1),
        write_bps: None,
        read_iops: None,
        write_iops: None,
    };
    let refused = |device| {
        let resources = Resources { io: vec![limit(device)], ..Resources::default() };
        cgroup.update(&resources).unwrap_err().to_string()
    };
    assert!(refused("/dev/null").contains("not a block device"));
    assert!(refused("/nowhere").contains("/nowhere"));
}
