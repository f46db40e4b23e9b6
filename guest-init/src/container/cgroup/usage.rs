//! What a cgroup says about the use of CPU, memory, disks and processes.

use super::{Cgroup, Group, Version};
use crate::protocol::Stats;

/// v1 counts in USER_HZ, which is 100 on x86-64 whatever the kernel's own clock is (times(2)).
const TICK_NS: u64 = 10_000_000;
const MICROSECOND_NS: u64 = 1_000;

impl Cgroup {
    /// Fills in what there is a controller for. `memory_bytes` is what there is without a limit.
    pub fn usage(&self, all_memory: u64) -> Stats {
        let mut stats = Stats { memory_limit_bytes: all_memory, ..Stats::default() };
        self.cpu(&mut stats);
        self.memory(&mut stats);
        self.threads(&mut stats);
        self.blocks(&mut stats);
        stats
    }

    /// Every v2 cgroup counts CPU time, without the controller and on hybrid hosts, too.
    fn cpu(&self, stats: &mut Stats) {
        if let Some(table) = self.v2().map(|group| group.table("cpu.stat")) {
            let nanoseconds = |key| table.get(key).saturating_mul(MICROSECOND_NS);
            stats.cpu_ns = nanoseconds("usage_usec");
            stats.cpu_user_ns = nanoseconds("user_usec");
            stats.cpu_system_ns = nanoseconds("system_usec");
            stats.throttled_ns = nanoseconds("throttled_usec");
            stats.periods = table.get("nr_periods");
            stats.throttled_periods = table.get("nr_throttled");
        } else if let Some(group) = self.v1("cpuacct") {
            let table = group.table("cpuacct.stat");
            stats.cpu_ns = group.number("cpuacct.usage");
            stats.cpu_user_ns = table.get("user").saturating_mul(TICK_NS);
            stats.cpu_system_ns = table.get("system").saturating_mul(TICK_NS);
        }
        if let Some(group) = self.v1("cpu") {
            let table = group.table("cpu.stat");
            stats.throttled_ns = table.get("throttled_time");
            stats.periods = table.get("nr_periods");
            stats.throttled_periods = table.get("nr_throttled");
        }
    }

    /// Counted, where no controller does.
    fn threads(&self, stats: &mut Stats) {
        let Some(group) = self.v1("pids").or(self.v2()).or(self.v1("devices")) else { return };
        stats.pids_limit = group.number("pids.max");
        stats.pids = match group.read("pids.current") {
            Ok(_) => group.number("pids.current"),
            Err(_) => {
                let file = if group.version == Version::V2 { "cgroup.threads" } else { "tasks" };
                let list = group.read_long(file).unwrap_or_default();
                u64::try_from(list.lines().count()).unwrap_or(0)
            }
        };
    }

    fn memory(&self, stats: &mut Stats) {
        let (used, limit, table, cache, inactive) = if let Some(group) = self.v1("memory") {
            let table = group.table("memory.stat");
            let (used, limit) = ("memory.usage_in_bytes", "memory.limit_in_bytes");
            (group.number(used), group.number(limit), table, "total_cache", "total_inactive_file")
        } else if let Some(group) = self.v2() {
            let table = group.table("memory.stat");
            (group.number("memory.current"), group.number("memory.max"), table, "file", "inactive_file")
        } else {
            return;
        };
        stats.memory_bytes = used.saturating_sub(table.get(inactive));
        stats.memory_cache_bytes = table.get(cache);
        // v1 says "none" by a number near 2^63.
        if limit > 0 && limit < stats.memory_limit_bytes {
            stats.memory_limit_bytes = limit;
        }
    }

    fn blocks(&self, stats: &mut Stats) {
        if let Some(group) = self.v1("blkio") {
            let text = group.read_long("blkio.throttle.io_service_bytes_recursive").unwrap_or_default();
            (stats.block_read_bytes, stats.block_write_bytes) = v1_blocks(&text);
        } else if let Some(group) = self.v2() {
            let text = group.read_long("io.stat").unwrap_or_default();
            (stats.block_read_bytes, stats.block_write_bytes) = v2_blocks(&text);
        }
    }
}

/// `MAJOR:MINOR Read N` and the like, a line each.
fn v1_blocks(text: &str) -> (u64, u64) {
    let sum = |direction: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(' ')?.1.split_once(' '));
        lines.filter(|(word, _)| *word == direction).filter_map(|(_, count)| count.parse::<u64>().ok()).sum()
    };
    (sum("Read"), sum("Write"))
}

/// `MAJOR:MINOR rbytes=N wbytes=N ...`.
fn v2_blocks(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        text.split_ascii_whitespace()
            .filter_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok())
            .sum()
    };
    (sum("rbytes"), sum("wbytes"))
}

/// A file of `key value` lines.
struct Table(String);

impl Table {
    /// 0 for what is not there.
    fn get(&self, key: &str) -> u64 {
        let mut pairs = self.0.lines().filter_map(|line| line.split_once(' '));
        pairs.find(|(name, _)| *name == key).and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
    }
}

impl Group {
    fn table(&self, file: &str) -> Table {
        Table(self.read_long(file).unwrap_or_default())
    }

    /// 0 for `max` and for what is not there.
    fn number(&self, file: &str) -> u64 {
        self.read(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_counters_are_summed_over_devices() {
        let v1 = "8:0 Read 100\n8:0 Write 7\n8:0 Total 107\n8:16 Read 1\n8:16 Write 2\nTotal 110\n";
        assert_eq!(v1_blocks(v1), (101, 9));
        let v2 = "8:0 rbytes=100 wbytes=7 rios=1 wios=1\n8:16 rbytes=1 wbytes=2 rios=9 wios=9\n";
        assert_eq!(v2_blocks(v2), (101, 9));
        assert_eq!((v1_blocks(""), v2_blocks("8:0\n")), ((0, 0), (0, 0)));
    }

    #[test]
    fn table_gives_the_value_of_a_whole_key() {
        let table = Table("inactive_file_x 5\ninactive_file 7\nbroken\n".into());
        assert_eq!((table.get("inactive_file"), table.get("absent"), table.get("broken")), (7, 0, 0));
    }
}
