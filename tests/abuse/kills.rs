//! kill -9 at random moments of whatever belongs to hull.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hull_engine::container::config::Config;
use hull_engine::store::{self, ContainerRow, ContainerState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use hull_tests::{BUSYBOX, Background, Running, Store, Traces, eventually, paths};

use crate::{Random, number};

/// Runs that end by themselves, so that what nobody kills does not count as left over.
const RUNS: [&[&str]; 5] = [
    &[BUSYBOX, "true"],
    &[BUSYBOX, "sleep", "1"],
    &[BUSYBOX, "sh", "-c", "head -c 3000000 /dev/zero | tee /tmp/x; sync"],
    &["--init", "-m", "64m", BUSYBOX, "sh", "-c", "sleep 1 & sleep 1 & wait"],
    &["--tmpfs", "/t", "--read-only", BUSYBOX, "sh", "-c", "echo x > /t/x; sleep 0.3"],
];

/// A bystander's: each line tells whether one before is missing.
const COUNT: &str = "n=0; while true; do echo n=$n; n=$((n + 1)); sleep 0.05; done";

/// Processes that run one of hull's binaries and come from this one: nobody else's are touched. This
/// process inherits orphans (PR_SET_CHILD_SUBREAPER, prctl(2)), so that all of them lead back to it.
fn victims(spared: &[Pid]) -> Vec<Pid> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids: Vec<i32> = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let parents: HashMap<i32, i32> = pids.iter().filter_map(|&pid| Some((pid, parent(pid)?))).collect();
    let own = i32::try_from(std::process::id()).unwrap();
    let comes_from_here = |pid: &i32| {
        let line = std::iter::successors(parents.get(pid), |parent| parents.get(parent));
        line.take(parents.len()).any(|ancestor| *ancestor == own)
    };
    let runs_hull = |pid: &i32| {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let name = exe.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("hull") || name.starts_with("memfd:hull")
    };
    let ours = pids.into_iter().filter(|pid| comes_from_here(pid) && runs_hull(pid));
    ours.map(Pid::from_raw).filter(|pid| !spared.contains(pid)).collect()
}

/// The fourth field of /proc/PID/stat (proc(5)); the second may hold spaces and brackets.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn start(store: &Store, random: &mut Random) -> Running {
    match random.index(RUNS.len() + 3) {
        pick if pick < RUNS.len() => store.run(RUNS[pick]).spawn(),
        pick if pick == RUNS.len() => store.keep([BUSYBOX, "sleep", "1"]).spawn(),
        pick if pick == RUNS.len() + 1 => store.run(["-d", BUSYBOX, "sleep", "1"]).spawn(),
        _ => store.hull(["load".as_ref(), "-i".as_ref(), paths::image("busybox.tar").as_os_str()]).spawn(),
    }
}

/// Kills for so long, and tells how many it hit.
fn rage(store: &Store, random: &mut Random, spared: &[Pid]) -> (usize, usize) {
    // What takes milliseconds takes seconds in the KVM test host.
    let emulated = std::env::var_os("HULL_KVM_HOST").is_some_and(|value| !value.is_empty());
    let pace = if emulated { 3000 } else { 150 };
    let until = Instant::now() + Duration::from_secs(number("HULL_ABUSE_SECONDS", 20));
    let (mut started, mut killed) = (0, 0);
    while Instant::now() < until {
        let running: Vec<Running> = (0..3).map(|_| start(store, random)).collect();
        started += running.len();
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(random.below(pace)));
            let victims = victims(spared);
            if !victims.is_empty() {
                killed += usize::from(kill(victims[random.index(victims.len())], Signal::SIGKILL).is_ok());
            }
        }
        // What still runs is killed with its `Running`, by SIGKILL, too.
        drop(running);
    }
    (started, killed)
}

/// Its numbers, of which none may be missing.
fn assert_no_gap(bystander: &Background) {
    let log = bystander.log();
    for (n, line) in log.lines().enumerate() {
        assert!(line.contains(&format!("\"n={n}\\n\"")), "line {n} of a bystander's log is {line}");
    }
    assert!(log.lines().count() > 10);
}

#[test]
fn whoever_is_killed_the_others_live_and_nothing_is_left() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos() | 1;
    let mut random = Random(seed.into());
    let store = Store::with_busybox();
    let images = store.hull(["images", "-q"]).output().text();
    let mut traces = Traces::follow(&store.root, &store.run);
    nix::sys::prctl::set_child_subreaper(true).unwrap();

    let bystanders = [(); 2].map(|()| Background::run_in(&store, [BUSYBOX, "sh", "-c", COUNT]));
    let before: Vec<_> = bystanders.iter().map(|one| one.row().unwrap()).collect();
    let spared: Vec<Pid> = bystanders.iter().flat_map(|one| [one.supervisor(), one.agent()]).collect();
    let stubborn =
        [(); 2].map(|()| Background::run_in(&store, ["--restart", "always", BUSYBOX, "sleep", "1000"]));
    let (started, killed) = rage(&store, &mut random, &spared);
    println!("seed {seed}: {started} started, {killed} killed");

    store.hull(["ps", "-a"]).output().exits(0);
    for (bystander, before) in bystanders.iter().zip(before) {
        let row = bystander.row().unwrap();
        assert_eq!((row.state, row.started), (ContainerState::Running, before.started), "seed {seed}");
        assert_no_gap(bystander);
    }
    for container in &stubborn {
        // It may be resting before its next start.
        eventually(&format!("seed {seed}: {:?} runs again", container.row()), || {
            container.row().filter(|row| row.state == ContainerState::Running)
        });
    }
    let opened = store::Store::open(&store.root, &store.run).unwrap();
    eventually("all with --rm are gone", || {
        let removed = |row: &ContainerRow| Config::from_row(row).is_ok_and(|config| config.remove);
        let rows = opened.db().containers().unwrap();
        let gone = !rows.iter().any(removed);
        store.hull(["ps"]).output().exits(0);
        gone.then_some(())
    });
    let kept = store.hull(["ps", "-aq"]).output().text();
    store.hull(["rm", "-f"]).args(kept.lines()).output().exits(0);
    let left = traces.left();
    assert!(left.is_empty(), "seed {seed}: left over:\n{}", left.join("\n"));
    assert_eq!(store.hull(["images", "-q"]).output().text(), images);
    assert_eq!(store.run([BUSYBOX, "echo", "fine"]).output().text(), "fine");
    let temporary: Vec<_> = fs::read_dir(store.root.join("tmp")).unwrap().collect();
    assert!(temporary.is_empty(), "seed {seed}: {temporary:?}");
}

#[test]
fn load_that_is_killed_leaves_the_store_as_it_was() {
    let mut random = Random(12345);
    let store = Store::new();
    for _ in 0..20 {
        let load =
            store.hull(["load".as_ref(), "-i".as_ref(), paths::image("busybox.tar").as_os_str()]).spawn();
        std::thread::sleep(Duration::from_millis(random.below(60)));
        load.signal(Signal::SIGKILL);
        drop(load);
        let count = store.hull(["images", "-q"]).output().text().lines().count();
        assert!(count <= 1);
    }
    store.load(&paths::image("busybox.tar")).exits(0);
    assert_eq!(store.run([BUSYBOX, "echo", "fine"]).output().text(), "fine");
    store.hull(["rmi", BUSYBOX]).output().exits(0);
    let files = ["blobs/sha256", "layers/v1/sha256", "roots/v1/sha256", "tmp"];
    let left: Vec<_> =
        files.iter().flat_map(|folder| fs::read_dir(store.root.join(folder)).unwrap().flatten()).collect();
    assert!(left.is_empty(), "{left:?}");
}
