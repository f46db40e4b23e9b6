//! What lives on and what starts again: after kills, with `hull system start`, and when the session that
//! started it is killed.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hull_tests::pod::{await_field, inspect, murder, supervisor};
use hull_tests::{BUSYBOX, Store, eventually, hull, paths, unique};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Starts one that sleeps in a store of the case's own; its id.
fn sleeping(store: &Store, name: &str, policy: &str) -> String {
    store.keep(["-d", "--name", name, "--restart", policy, BUSYBOX, "sleep", "1000"]).output().text()
}

fn states(store: &Store) -> String {
    let text = store.hull(["ps", "-a", "--format", "{{.Names}} {{.State}}"]).output().text();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("; ")
}

fn remove_all(store: &Store) {
    let ids = store.hull(["ps", "-aq"]).output().text();
    store.hull(["rm", "-f"]).args(ids.split_whitespace()).output().exits(0);
}

#[test]
fn start_brings_back_what_its_policy_asks_for_and_says_what() {
    let store = Store::with_busybox();
    let mut ids = Vec::new();
    for (name, policy) in [
        ("always", "always"),
        ("always-stopped", "always"),
        ("unless-stopped", "unless-stopped"),
        ("really-stopped", "unless-stopped"),
        ("failed", "on-failure"),
        ("no", "no"),
    ] {
        ids.push(sleeping(&store, name, policy));
    }
    store.hull(["stop", "-t", "0", "always-stopped", "really-stopped"]).output().exits(0);
    ids.iter().filter_map(|id| supervisor(id)).for_each(murder);
    let text = store.hull(["system", "start"]).output().text();
    let mut started: Vec<&str> = text.lines().collect();
    started.sort_unstable();
    assert_eq!(started, ["always", "always-stopped", "failed", "unless-stopped"]);
    assert_eq!(
        states(&store),
        "always running; always-stopped running; failed running; no exited; really-stopped exited; \
         unless-stopped running"
    );
    assert_eq!(store.hull(["system", "start"]).output().text(), "", "there is nothing left to start");
    remove_all(&store);
}

#[test]
fn who_waits_starts_again_at_once_what_is_killed_and_ends_by_a_signal() {
    let store = Store::with_busybox();
    let first = sleeping(&store, "first", "always");
    let mut waiting = store.hull(["system", "start", "--wait"]).spawn();
    murder(supervisor(&first).unwrap());
    waiting.stdout.expect("first\n");
    let second = sleeping(&store, "second", "unless-stopped");
    murder(supervisor(&second).unwrap());
    waiting.stdout.expect("second\n");
    murder(supervisor(&second).unwrap());
    waiting.stdout.expect("second\nsecond\n");
    waiting.signal(Signal::SIGTERM);
    waiting.finish().exits(0);
    assert_eq!(states(&store), "first running; second running", "they outlive it");
    remove_all(&store);
}

#[test]
fn who_waits_starts_again_what_did_not_answer_before_it_was_killed() {
    let store = Store::with_busybox();
    let silent = supervisor(&sleeping(&store, "silent", "always")).unwrap();
    kill(silent, Signal::SIGSTOP).unwrap();
    let mut waiting = store.hull(["system", "start", "--wait"]).spawn();
    let call = format!("/proc/{}/syscall", waiting.pid());
    let polls =
        || fs::read_to_string(&call).is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_poll)));
    eventually("it has asked everybody", || polls().then_some(()));
    murder(silent);
    waiting.stdout.expect("silent\n");
    waiting.signal(Signal::SIGTERM);
    waiting.finish().exits(0);
    remove_all(&store);
}

/// A cgroup in every hierarchy that lets one be made, as a login session has.
struct Session {
    groups: Vec<PathBuf>,
}

impl Session {
    fn new() -> Session {
        let name = unique("hull-test-session");
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let hierarchies = table
            .lines()
            .filter(|line| line.contains(" - cgroup"))
            .filter_map(|line| line.split(' ').nth(4))
            // Has to be told its CPUs before it takes a process.
            .filter(|path| !path.contains("cpuset"));
        let groups = hierarchies.map(|path| PathBuf::from(path).join(&name));
        Session { groups: groups.filter(|path| fs::create_dir(path).is_ok()).collect() }
    }

    /// Every process that is in it, in whatever hierarchy.
    fn processes(&self) -> Vec<i32> {
        let texts = self.groups.iter().map(|group| fs::read_to_string(group.join("cgroup.procs")).unwrap());
        texts.collect::<String>().lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// As a login manager ends one.
    fn kill(&self) {
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.kill();
        for group in &self.groups {
            let deadline = std::time::Instant::now() + paths::patience();
            while fs::remove_dir(group).is_err() && std::time::Instant::now() < deadline {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn containers_outlive_the_session_that_started_them() {
    let session = Session::new();
    let name = unique("outlives");
    let script = r#"
        for group in $GROUPS_OF_SESSION; do echo $$ > $group/cgroup.procs; done
        "$@" && exec sleep 1000"#;
    let groups: Vec<&str> = session.groups.iter().filter_map(|group| group.to_str()).collect();
    let mut shell = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(paths::binary("hull"))
        .args(["run", "-d", "--name", &name, "--isolation", hull_tests::isolation().word()])
        .args([BUSYBOX, "sleep", "1000"])
        .env("GROUPS_OF_SESSION", groups.join(" "))
        .env("HULL_ROOT", paths::shared_root())
        .env("HULL_RUN", paths::shared_run())
        .env("HULL_CONFIG", paths::no_config())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let id = loop {
        let found = hull(["ps", "-q", "--no-trunc", "--filter", &format!("name={name}")]).text();
        if !found.is_empty() {
            break found;
        }
        assert!(shell.try_wait().unwrap().is_none(), "the session's shell has ended");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    await_field(&name, ".State.Status", "running");
    let supervising = supervisor(&id).unwrap();
    session.kill();
    shell.wait().unwrap();
    assert_eq!(supervisor(&id), Some(supervising));
    hull(["exec", &name, "true"]).exits(0);
    assert_eq!(inspect(&name, ".State.Status"), "running");
    assert_eq!(session.processes(), Vec::<i32>::new(), "nothing of it is in the session");
    hull(["rm", "-f", &name]).exits(0);
}
