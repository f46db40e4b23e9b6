//! What a container may use.

use serde::{Deserialize, Serialize};

use super::Text;

/// Limits. None is no limit at `CreateContainer`, and "as it is" at `Update`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    pub memory_bytes: Option<u64>,
    /// Soft limit: `memory.low` on v2, `memory.soft_limit_in_bytes` on v1.
    pub memory_reservation_bytes: Option<u64>,
    /// Memory and swap together, docker's `--memory-swap`; `u64::MAX` is unlimited swap. None: no swap
    /// beyond `memory_bytes`, if that is given.
    pub memory_swap_bytes: Option<u64>,
    /// Thousandths of a CPU.
    pub cpu_millis: Option<u64>,
    /// Docker's `--cpu-shares`, 2 to 262144, where 1024 is the usual weight.
    pub cpu_shares: Option<u64>,
    /// Docker's `--cpu-period` and `--cpu-quota`; not together with `cpu_millis`.
    pub cpu_period_us: Option<u64>,
    pub cpu_quota_us: Option<u64>,
    /// A list like `0-2,7`. In a guest of the guest's own CPUs.
    pub cpuset_cpus: Option<String>,
    /// Processes and threads; `u64::MAX` is no limit.
    pub pids: Option<u64>,
    /// /dev/shm.
    pub shm_bytes: Option<u64>,
    /// Host only: a guest's disks are limited by its VMM.
    #[serde(default)]
    pub io: Vec<IoLimit>,
}

/// How fast one block device of the host may be read and written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IoLimit {
    /// Its path.
    pub device: Text,
    /// Bytes a second.
    pub read_bps: Option<u64>,
    pub write_bps: Option<u64>,
    /// Requests a second.
    pub read_iops: Option<u64>,
    pub write_iops: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateArgs {
    pub container: String,
    pub resources: Resources,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_left_out_are_none_and_unknown_ones_refused() {
        assert_eq!(serde_json::from_str::<Resources>("{}").unwrap(), Resources::default());
        let error = serde_json::from_str::<Resources>(r#"{"blkio_weight":10}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `blkio_weight`"), "{error}");
    }

    #[test]
    fn unlimited_survives_json() {
        let unlimited = Resources { pids: Some(u64::MAX), ..Resources::default() };
        let wire = serde_json::to_string(&unlimited).unwrap();
        assert_eq!(serde_json::from_str::<Resources>(&wire).unwrap(), unlimited);
    }
}
