//! What a container uses. Parts of replies: an older agent leaves fields out, a newer one adds some.

use serde::{Deserialize, Serialize};

use super::Text;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// CPU time used by all processes so far.
    pub cpu_ns: u64,
    pub cpu_user_ns: u64,
    pub cpu_system_ns: u64,
    /// Spans in which CPU time was rationed, those in which it ran out, and the time lost by that.
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
    pub online_cpus: u32,
    /// The agent's monotonic clock at the moment of reading, so that two readings give a rate.
    pub system_ns: u64,
    /// Without the inactive file cache.
    pub memory_bytes: u64,
    /// The limit, or all memory the agent sees.
    pub memory_limit_bytes: u64,
    pub memory_cache_bytes: u64,
    pub pids: u64,
    /// 0 is none.
    pub pids_limit: u64,
    /// Without the loopback device.
    pub network: Vec<NetworkStats>,
    pub block_read_bytes: u64,
    pub block_write_bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkStats {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessInfo {
    /// As the agent sees it.
    pub pid: u32,
    pub ppid: u32,
    pub uid: u32,
    /// The name in the container's passwd file, else the number.
    pub user: String,
    /// Of one CPU, over the process' life.
    pub cpu_percent: u32,
    /// Seconds since 1970.
    pub start_unix: u64,
    /// `pts/0`, or `?`.
    pub tty: String,
    pub cpu_seconds: u64,
    /// Its arguments with blanks between, or its name in brackets.
    pub command: Text,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Outcome, Reply};

    #[test]
    fn statistics_of_another_version_are_read_as_far_as_they_are_known() {
        let wire = r#"{"ok":{"outcome":"stats","value":{"cpu_ns":7,"later":1}}}"#;
        let Ok(Reply::Ok(Outcome::Stats(stats))) = serde_json::from_str(wire) else { panic!() };
        assert_eq!(stats, Stats { cpu_ns: 7, ..Stats::default() });
        let wire = r#"{"ok":{"outcome":"processes","value":[{"pid":1,"later":1}]}}"#;
        assert!(
            matches!(serde_json::from_str(wire), Ok(Reply::Ok(Outcome::Processes(list))) if list.len() == 1)
        );
    }
}
