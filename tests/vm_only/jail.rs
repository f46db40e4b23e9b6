//! The state of a hull-vmm while its guest runs, seen through /proc.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use hull_tests::{BUSYBOX, Hull, Running};

use crate::alone;

/// `hull run -i ARGS...` in a machine whose container has begun to talk, and its hull-vmm's folder in /proc.
pub fn machine(args: &[&str]) -> (Running, PathBuf) {
    let before = machines();
    let mut running = Hull::run([&["-i"], args].concat()).spawn();
    running.stdout.expect("\n");
    let mut new: Vec<PathBuf> = machines().into_iter().filter(|machine| !before.contains(machine)).collect();
    assert_eq!(new.len(), 1, "one machine, one process: {new:?}");
    (running, new.remove(0))
}

/// One that waits.
fn waiting() -> (Running, PathBuf) {
    machine(&[BUSYBOX, "sh", "-c", "echo ready; cat"])
}

fn machines() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    entries
        // Not by its name: each machine gives itself one of its own.
        .filter(|path| fs::read_link(path.join("exe")).is_ok_and(|exe| exe.ends_with("hull-vmm")))
        .collect()
}

fn status(machine: &Path, field: &str) -> String {
    let text = fs::read_to_string(machine.join("status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{field}:"))).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

#[test]
fn process_has_no_root_no_capability_and_gains_none() {
    let _turn = alone();
    let (_running, machine) = waiting();
    for field in ["Uid", "Gid"] {
        let ids = status(&machine, field);
        assert!(ids.split_whitespace().all(|id| id != "0"), "{field}: {ids}");
    }
    assert_eq!(status(&machine, "Groups"), "");
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(&machine, field), "0000000000000000", "{field}");
    }
    assert_eq!(status(&machine, "NoNewPrivs"), "1");
}

#[test]
fn namespaces_are_its_own_and_its_root_is_empty() {
    let _turn = alone();
    let (_running, machine) = waiting();
    for kind in ["net", "mnt", "ipc", "uts"] {
        let own = fs::read_link(machine.join("ns").join(kind)).unwrap();
        assert_ne!(own, fs::read_link(format!("/proc/self/ns/{kind}")).unwrap(), "{kind}");
    }
    let root: Vec<_> =
        fs::read_dir(machine.join("root")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(root.is_empty(), "{root:?}");
    let interfaces = fs::read_to_string(machine.join("net/dev")).unwrap();
    let others: Vec<&str> =
        interfaces.lines().skip(2).filter(|line| !line.trim_start().starts_with("lo:")).collect();
    assert!(others.is_empty(), "{others:?}");
    let mounts = fs::read_to_string(machine.join("mountinfo")).unwrap();
    assert!(mounts.lines().count() <= 1, "{mounts}");
}

#[test]
fn descriptors_are_its_own_few() {
    let _turn = alone();
    let (_running, machine) = waiting();
    let descriptors = fs::read_dir(machine.join("fd")).unwrap().flatten();
    let targets: Vec<String> = descriptors
        .filter_map(|fd| Some(fs::read_link(fd.path()).ok()?.to_string_lossy().into_owned()))
        .collect();
    assert!(targets.len() < 64, "{targets:?}");
    for target in &targets {
        assert!(target != "/dev/kvm", "/dev/kvm is open: {targets:?}");
        let expected = target.starts_with("anon_inode:")
            || target.starts_with("socket:")
            || target.starts_with("pipe:")
            || target == "/dev/null"
            || target == "/dev/urandom"
            || target == "/dev/net/tun"
            || target.ends_with(".erofs")
            || target.contains("/sandboxes/")
            || target.contains("memfd:")
            || target.ends_with("(deleted)");
        assert!(expected, "unexpected descriptor {target} in {targets:?}");
    }
    // Of its only network.
    assert_eq!(targets.iter().filter(|target| *target == "/dev/net/tun").count(), 1, "{targets:?}");
}

#[test]
fn process_is_in_a_cgroup_of_its_own() {
    let _turn = alone();
    let (_running, machine) = waiting();
    let cgroups = fs::read_to_string(machine.join("cgroup")).unwrap();
    assert!(cgroups.contains("hull"), "{cgroups}");
}

#[test]
fn machine_ends_with_its_supervisor() {
    let _turn = alone();
    let (running, machine) = waiting();
    let supervisor = status(&machine, "PPid").parse().unwrap();
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    let deadline = std::time::Instant::now() + hull_tests::paths::patience();
    while machine.exists() {
        assert!(std::time::Instant::now() < deadline, "{} is still there", machine.display());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(running);
}
