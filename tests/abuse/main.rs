//! kill -9 at random moments of whatever belongs to hull, for `HULL_ABUSE_SECONDS`: then nothing is
//! left of it, the store opens, and its images still run.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use hull_tests::{BUSYBOX, Running, Store, Traces, paths};

/// Marsaglia's xorshift64: repeatable from the seed that a failure prints.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn seconds() -> u64 {
    std::env::var("HULL_ABUSE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(20)
}

/// Runs that end by themselves, so that what nobody kills does not count as left over.
const RUNS: [&[&str]; 5] = [
    &[BUSYBOX, "true"],
    &[BUSYBOX, "sleep", "1"],
    &[BUSYBOX, "sh", "-c", "head -c 3000000 /dev/zero | tee /tmp/x; sync"],
    &["--init", "-m", "64m", BUSYBOX, "sh", "-c", "sleep 1 & sleep 1 & wait"],
    &["--tmpfs", "/t", "--read-only", BUSYBOX, "sh", "-c", "echo x > /t/x; sleep 0.3"],
];

/// Processes that run one of hull's binaries and come from this one: nobody else's are touched. This
/// process inherits orphans (PR_SET_CHILD_SUBREAPER, prctl(2)), so that all of them lead back to it.
fn victims() -> Vec<i32> {
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
    pids.into_iter().filter(|pid| comes_from_here(pid) && runs_hull(pid)).collect()
}

/// The fourth field of /proc/PID/stat (proc(5)); the second may hold spaces and brackets.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn start(store: &Store, random: &mut Random) -> Running {
    let pick = usize::try_from(random.below(RUNS.len() as u64 + 2)).unwrap();
    match RUNS.get(pick) {
        Some(run) => store.run(*run).spawn(),
        None if pick == RUNS.len() => store.keep([BUSYBOX, "sleep", "1"]).spawn(),
        None => store.hull(["load".as_ref(), "-i".as_ref(), paths::image("busybox.tar").as_os_str()]).spawn(),
    }
}

#[test]
fn nothing_is_left_of_what_was_killed_at_random_moments() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos() | 1;
    let mut random = Random(seed.into());
    let store = Store::with_busybox();
    let images = store.hull(["images", "-q"]).output().text();
    let mut traces = Traces::follow(&store.root, &store.run);
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    // What takes milliseconds takes seconds in the KVM test host.
    let emulated = std::env::var_os("HULL_KVM_HOST").is_some_and(|value| !value.is_empty());
    let pace = if emulated { 3000 } else { 150 };

    let until = Instant::now() + Duration::from_secs(seconds());
    let (mut started, mut killed) = (0, 0);
    while Instant::now() < until {
        let running: Vec<Running> = (0..3).map(|_| start(&store, &mut random)).collect();
        started += running.len();
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(random.below(pace)));
            let victims = victims();
            if let Some(&victim) =
                victims.get(usize::try_from(random.below(victims.len().max(1) as u64)).unwrap())
            {
                killed += i32::from(kill(Pid::from_raw(victim), Signal::SIGKILL).is_ok());
            }
        }
        // What still runs is killed with its `Running`, by SIGKILL, too.
        drop(running);
    }
    println!("seed {seed}: {started} started, {killed} killed");

    store.hull(["ps", "-a"]).output().exits(0);
    let kept = store.hull(["ps", "-aq"]).output().text();
    if !kept.is_empty() {
        store.hull(["rm", "-f"]).args(kept.lines()).output().exits(0);
    }
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
