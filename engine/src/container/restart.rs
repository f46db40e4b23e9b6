//! Restart policies: whether a container that ended starts again, and after how long.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The first wait; each further one is twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A container that ran this long has come up: the next wait is the first again.
const HEALTHY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    #[default]
    No,
    /// `most` 0: as often as it takes.
    OnFailure {
        most: u32,
    },
    Always,
    UnlessStopped,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--restart \"{0}\" is not a policy; there are no, on-failure[:N], always and unless-stopped")]
pub struct BadPolicy(String);

impl FromStr for RestartPolicy {
    type Err = BadPolicy;

    fn from_str(word: &str) -> Result<RestartPolicy, BadPolicy> {
        match word.split_once(':') {
            None => match word {
                "" | "no" => Ok(RestartPolicy::No),
                "on-failure" => Ok(RestartPolicy::OnFailure { most: 0 }),
                "always" => Ok(RestartPolicy::Always),
                "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
                _ => Err(BadPolicy(word.to_string())),
            },
            Some(("on-failure", most)) => {
                let most = most.parse().map_err(|_| BadPolicy(word.to_string()))?;
                Ok(RestartPolicy::OnFailure { most })
            }
            Some(_) => Err(BadPolicy(word.to_string())),
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RestartPolicy::No => "no",
            RestartPolicy::OnFailure { .. } => "on-failure",
            RestartPolicy::Always => "always",
            RestartPolicy::UnlessStopped => "unless-stopped",
        })
    }
}

impl RestartPolicy {
    /// Whether a container that ended with this code, restarted so often already, starts again.
    pub fn wants(self, exit_code: i32, restarts: u32) -> bool {
        match self {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure { most } => exit_code != 0 && (most == 0 || restarts < most),
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        }
    }

    /// Whether a container that a user stopped starts again when the machine does.
    pub fn outlives_a_stop(self) -> bool {
        self == RestartPolicy::Always
    }
}

/// The growing wait between restarts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// How long to wait now, after a run of that length.
    pub fn after(&mut self, ran: Duration) -> Duration {
        let next = match self.last {
            Some(last) if ran < HEALTHY => last.saturating_mul(2).min(LONGEST_DELAY),
            _ => FIRST_DELAY,
        };
        self.last = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_read_as_dockers() {
        assert_eq!("no".parse(), Ok(RestartPolicy::No));
        assert_eq!("on-failure:3".parse(), Ok(RestartPolicy::OnFailure { most: 3 }));
        assert_eq!("unless-stopped".parse(), Ok(RestartPolicy::UnlessStopped));
        for bad in ["never", "always:3", "on-failure:", "on-failure:-1"] {
            assert!(bad.parse::<RestartPolicy>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_failures_count_for_on_failure_and_only_so_many() {
        let policy = RestartPolicy::OnFailure { most: 2 };
        assert!(policy.wants(1, 0) && policy.wants(1, 1) && !policy.wants(1, 2) && !policy.wants(0, 0));
        assert!(RestartPolicy::OnFailure { most: 0 }.wants(1, 1000));
        assert!(RestartPolicy::Always.wants(0, 7) && !RestartPolicy::No.wants(1, 0));
    }

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_a_long_run() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..12).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits[..4], [100, 200, 400, 800]);
        assert_eq!(waits[11], 60_000);
        assert_eq!(backoff.after(HEALTHY), FIRST_DELAY);
    }
}
