//! Everything a container was created with, as its row keeps it: what its supervisor builds it from, at
//! each start anew.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hull_guest::protocol::{Mount, Process, Resources, Share};
use serde::{Deserialize, Serialize};

use super::health::HealthCheck;
use super::restart::RestartPolicy;
use super::secrets::Secret;
use crate::logs::LogConfig;
use crate::network::model::Networking;
use crate::store::ContainerRow;
use crate::volume::{MountPoint, parse::Shown};

/// Seconds a container has between its stop signal and SIGKILL (docker's number).
pub const STOP_TIMEOUT: i64 = 10;
const SIGTERM: u8 = 15;

/// A row's config cannot be read, a container's or a pod's.
#[derive(Debug, thiserror::Error)]
#[error("The config of {what} {name} is of a release of hull that this one cannot read")]
pub struct UnreadableConfig {
    pub what: &'static str,
    pub name: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// The image as the user named it.
    pub image: String,
    /// The image's, with the user's on top.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `--rm`
    #[serde(default)]
    pub remove: bool,
    pub hostname: String,
    pub process: Process,
    /// How many of the process' words are the entrypoint's.
    #[serde(default)]
    pub entrypoint_words: usize,
    /// Whether the first client that feeds the container ends its stdin when it leaves.
    #[serde(default)]
    pub stdin_once: bool,
    /// In memory.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// From outside, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<MountPoint>,
    /// How these were asked for.
    #[serde(default, skip_serializing_if = "Shown::is_empty")]
    pub shown_mounts: Shown,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default)]
    pub resources: Resources,
    /// `--storage-opt size=`
    #[serde(default)]
    pub storage_bytes: Option<u64>,
    /// Of a pod's container: nothing, the pod has it.
    #[serde(default)]
    pub network: Networking,
    /// Whose namespaces it joins, by id.
    #[serde(default)]
    pub share: Share,
    #[serde(default)]
    pub restart: RestartPolicy,
    #[serde(default)]
    pub stop: Stop,
    #[serde(default)]
    pub health: Option<HealthCheck>,
    #[serde(default)]
    pub log: LogConfig,
    /// `--kernel`
    #[serde(default)]
    pub kernel: Option<PathBuf>,
    /// Whether the guest's console was to be kept.
    #[serde(default)]
    pub boot_log: bool,
}

/// How the container is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub signal: u8,
    /// Before SIGKILL; negative: never.
    pub timeout_seconds: i64,
}

impl Default for Stop {
    fn default() -> Stop {
        Stop { signal: SIGTERM, timeout_seconds: STOP_TIMEOUT }
    }
}

impl Config {
    pub fn from_row(row: &ContainerRow) -> Result<Config, UnreadableConfig> {
        let unreadable = |_| UnreadableConfig { what: "container", name: row.name.clone() };
        serde_json::from_str(&row.config).map_err(unreadable)
    }

    pub fn to_row(&self) -> String {
        // Strings, numbers and maps with string keys, and paths that came as text: nothing JSON refuses.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What the agent is told for an update: as `new`, and of memory and swap both where there is one, since
    /// swap left out means none.
    pub fn to_update(&self, new: &Resources) -> Resources {
        let mut told = new.clone();
        if new.memory_bytes.is_some() || new.memory_swap_bytes.is_some() {
            told.memory_bytes = new.memory_bytes.or(self.resources.memory_bytes);
            told.memory_swap_bytes = new.memory_swap_bytes.or(self.resources.memory_swap_bytes);
        }
        told
    }

    /// `hull update`: what is named changes.
    pub fn update(&mut self, new: Resources, restart: Option<RestartPolicy>) {
        let now = &mut self.resources;
        for (now, new) in [
            (&mut now.memory_bytes, new.memory_bytes),
            (&mut now.memory_reservation_bytes, new.memory_reservation_bytes),
            (&mut now.memory_swap_bytes, new.memory_swap_bytes),
            (&mut now.cpu_millis, new.cpu_millis),
            (&mut now.cpu_shares, new.cpu_shares),
            (&mut now.cpu_period_us, new.cpu_period_us),
            (&mut now.cpu_quota_us, new.cpu_quota_us),
            (&mut now.pids, new.pids),
        ] {
            *now = new.or(*now);
        }
        if new.cpuset_cpus.is_some() {
            now.cpuset_cpus = new.cpuset_cpus;
        }
        self.restart = restart.unwrap_or(self.restart);
    }

    /// The command as `ps` shows it: docker's quotes around arguments with a space.
    pub fn command_line(&self) -> String {
        let mut line = String::new();
        for (index, word) in self.process.args.iter().enumerate() {
            let word = String::from_utf8_lossy(word.as_bytes());
            let quote = if index > 0 && word.contains(' ') { "'" } else { "" };
            let space = if index > 0 { " " } else { "" };
            line.extend([space, quote, &word, quote]);
        }
        line
    }
}
