//! Memory that a guest has no use for any more goes back to the host.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hull_tests::{BUSYBOX, paths};

use crate::alone;
use crate::jail::machine;

/// Usual patience; a multiple of it says how much slower this machine is.
const USUAL: Duration = Duration::from_secs(60);

/// What the machine's process has of the host's memory, in MiB.
fn resident(machine: &Path) -> u64 {
    let text = fs::read_to_string(machine.join("smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn memory_that_a_container_frees_is_back_at_the_host_within_ten_seconds() {
    let _turn = alone();
    let script = "dd if=/dev/zero of=/big/file bs=1M count=200 2>/dev/null && echo written; read word; \
                  rm /big/file && echo deleted; cat";
    let (mut running, machine) = machine(&["--tmpfs", "/big:size=300m", BUSYBOX, "sh", "-c", script]);
    running.stdout.expect("written");
    let full = resident(&machine);
    assert!(full >= 200, "{full} MiB");
    std::io::Write::write_all(running.stdin.as_mut().unwrap(), b"go\n").unwrap();
    running.stdout.expect("deleted");
    let begin = Instant::now();
    let limit = Duration::from_secs(10).mul_f64(paths::patience().div_duration_f64(USUAL).max(1.0));
    // The kernel tells nobody when a process gets smaller.
    let mut now = resident(&machine);
    while now + 150 > full {
        assert!(begin.elapsed() < limit, "{now} of {full} MiB after {limit:?}");
        std::thread::sleep(Duration::from_millis(200));
        now = resident(&machine);
    }
    println!("{full} MiB, {now} MiB after {:?}", begin.elapsed());
}
