//! Much of the same: containers one after the other, output that nobody reads.

use std::fs;
use std::path::Path;

use hull_tests::{BUSYBOX, Background, Store, Traces};

use crate::number;

/// Bytes on disk of all files below.
fn size(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// What the kernel holds for cgroups, namespaces, sockets and mounts, in KiB: the part of its memory that
/// cannot be reclaimed.
fn kernel_memory() -> u64 {
    let table = fs::read_to_string("/proc/meminfo").unwrap();
    let line = table.lines().find(|line| line.starts_with("SUnreclaim:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn short_lived_containers_in_a_row_leave_nothing() {
    let runs = number("HULL_ABUSE_RUNS", 50);
    let store = Store::with_busybox();
    let mut traces = Traces::follow(&store.root, &store.run);
    let once = || store.run([BUSYBOX, "true"]).output().exits(0);
    for _ in 0..10 {
        once();
    }
    let (disk, memory) = (size(&store.root) + size(&store.run), kernel_memory());
    for _ in 0..runs {
        once();
        traces.ids();
    }
    let left = traces.left();
    assert!(left.is_empty(), "{left:?}");
    let grown = (size(&store.root) + size(&store.run)).saturating_sub(disk);
    // Events, of which the database keeps a number, and its log.
    assert!(grown < 4 << 20, "{grown} bytes more after {runs} runs");
    let grown = kernel_memory().saturating_sub(memory);
    assert!(grown < 64 << 10, "{grown} KiB more of the kernel's memory after {runs} runs");
}

#[test]
fn output_that_nobody_reads_neither_blocks_nor_fills_the_disk() {
    let mebibytes = number("HULL_ABUSE_MIB", 200);
    let store = Store::with_busybox();
    let script = format!("yes 0123456789012345678901234567890123456789 | head -c {mebibytes}m");
    let limits = ["--log-opt", "max-size=5m", "--log-opt", "max-file=3"];
    let container = Background::run_in(&store, limits.iter().chain(&[BUSYBOX, "sh", "-c", &script]));
    let waiting = container.command(["wait"]).output_within(hull_tests::paths::patience() * 10);
    assert_eq!(waiting.text(), "0");
    let size = size(&store.root.join("containers").join(&container.id));
    // A line may go over, and an upper layer's folders are there too.
    assert!((5 << 20..16 << 20).contains(&size), "{size} bytes");
}
