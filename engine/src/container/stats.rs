//! What containers use, and what that costs the host.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use hull_guest::protocol::Stats;

use super::start;
use crate::sandbox::mode::Isolation;
use crate::store::{ContainerRow, Store};
use crate::supervisor::client::Client;
use crate::supervisor::control::Measured;

/// What a reading waits for those that are asked. Who answers later is heard at the next.
const PATIENCE: Duration = Duration::from_secs(2);
/// Stack of a thread that asks one question.
const STACK: usize = 128 * 1024;

/// What one container used when it was asked.
#[derive(Debug, Clone)]
pub struct Reading {
    pub stats: Stats,
    /// Of one CPU, since the reading before; none for the first.
    pub cpu_percent: Option<f64>,
    /// Memory of the host: in a virtual machine that of its process, else what the container uses and the
    /// agent; and the supervisor.
    pub host_bytes: u64,
}

/// Asks many containers at once, again and again.
#[derive(Debug)]
pub struct Sampler {
    before: HashMap<String, Stats>,
    /// Asked, and not heard of yet.
    asked: HashSet<String>,
    answers: Receiver<Answer>,
    sender: Sender<Answer>,
}

#[derive(Debug)]
struct Answer {
    id: String,
    measured: Option<(Stats, u64)>,
}

impl Default for Sampler {
    fn default() -> Sampler {
        let (sender, answers) = mpsc::channel();
        Sampler { before: HashMap::new(), asked: HashSet::new(), answers, sender }
    }
}

impl Sampler {
    /// Readings by id, of those that answer in time. One that is stuck holds nobody else up.
    pub fn read(&mut self, store: &Store, rows: &[&ContainerRow]) -> HashMap<String, Reading> {
        for row in rows {
            if self.asked.insert(row.id.clone()) && !self.ask(store, row) {
                self.asked.remove(&row.id);
            }
        }
        let deadline = Instant::now() + PATIENCE;
        let mut readings = HashMap::new();
        while !self.asked.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(answer) = self.answers.recv_timeout(left) else { break };
            self.asked.remove(&answer.id);
            if let Some((stats, host_bytes)) = answer.measured {
                let before = self.before.insert(answer.id.clone(), stats.clone());
                let cpu_percent = before.and_then(|before| cpu_percent(&before, &stats));
                readings.insert(answer.id, Reading { stats, cpu_percent, host_bytes });
            }
        }
        let known = |id: &String| rows.iter().any(|row| row.id == *id);
        self.before.retain(|id, _| known(id));
        readings
    }

    fn ask(&self, store: &Store, row: &ContainerRow) -> bool {
        let (client, id, sender) = (start::client(store, row), row.id.clone(), self.sender.clone());
        let mode = row.mode;
        let asking = move || {
            let measured = measure(&client, &id, mode);
            // Nobody listens any more once the command has ended.
            let _ = sender.send(Answer { id, measured });
        };
        thread::Builder::new().name("stats".to_string()).stack_size(STACK).spawn(asking).is_ok()
    }
}

/// None: it does not answer, since it has ended or is about to.
fn measure(client: &Client, id: &str, mode: Isolation) -> Option<(Stats, u64)> {
    let Measured { stats, pids } = client.stats(id).ok()?;
    let processes: u64 = pids.into_iter().filter_map(proportional_bytes).sum();
    let host_bytes = match mode {
        Isolation::Vm => processes,
        Isolation::Namespace => processes.saturating_add(stats.memory_bytes),
    };
    Some((stats, host_bytes))
}

/// A process' memory, what it shares divided among those that share it (proc(5), smaps_rollup: Pss).
fn proportional_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    pss(&text)
}

fn pss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// None where no time has passed, or a container has begun anew.
fn cpu_percent(before: &Stats, now: &Stats) -> Option<f64> {
    let used = now.cpu_ns.checked_sub(before.cpu_ns)?;
    let passed = now.system_ns.checked_sub(before.system_ns).filter(|passed| *passed > 0)?;
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    Some(used as f64 / passed as f64 * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_told_of_one_cpu_between_two_readings() {
        let at = |system_ns, cpu_ns| Stats { system_ns, cpu_ns, ..Stats::default() };
        assert_eq!(cpu_percent(&at(1000, 500), &at(2000, 2500)), Some(200.0));
        assert_eq!(cpu_percent(&at(1000, 500), &at(1000, 500)), None);
        // Started again in between.
        assert_eq!(cpu_percent(&at(1000, 500), &at(2000, 100)), None);
    }

    #[test]
    fn memory_of_a_process_is_its_proportional_share() {
        let rollup =
            "00400000-7ff ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nPss:    123 kB\nPss_Anon: 7 kB\n";
        assert_eq!(pss(rollup), Some(123 << 10));
        assert_eq!(pss("Rss: 1 kB\n"), None);
        assert!(proportional_bytes(std::process::id()).is_some_and(|bytes| bytes > 0));
    }
}
