//! Health checks: what is asked of a container, and how the answers add up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// As an image's config and `inspect` write it, times in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthCheck {
    /// `["CMD", args...]`, `["CMD-SHELL", line]` or `["NONE"]`.
    pub test: Vec<String>,
    pub interval: u64,
    pub timeout: u64,
    pub start_period: u64,
    pub retries: u32,
}

/// Docker's defaults, for what is zero.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;
/// Results that `inspect` shows, and bytes of output of each.
const KEPT: usize = 5;
pub const OUTPUT: usize = 4096;

/// What the command line says about it.
#[derive(Debug, Clone, Default)]
pub struct HealthOptions {
    pub off: bool,
    pub command: Option<String>,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub start_period: Option<Duration>,
    pub retries: Option<u32>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HealthError {
    #[error("--no-healthcheck conflicts with --health-* options")]
    Both,
    #[error("the image's health check cannot be read: {0}")]
    Image(String),
}

impl HealthCheck {
    /// The image's check with the user's words on top; none if there is no command to run.
    pub fn resolve(
        image: Option<&serde_json::Value>,
        options: &HealthOptions,
    ) -> Result<Option<HealthCheck>, HealthError> {
        let given = options.command.is_some()
            || options.interval.is_some()
            || options.timeout.is_some()
            || options.start_period.is_some()
            || options.retries.is_some();
        if options.off {
            return if given { Err(HealthError::Both) } else { Ok(None) };
        }
        let mut check = match image {
            Some(value) if !value.is_null() => serde_json::from_value(value.clone())
                .map_err(|error| HealthError::Image(error.to_string()))?,
            _ => HealthCheck::default(),
        };
        if let Some(command) = &options.command {
            check.test = vec!["CMD-SHELL".to_string(), command.clone()];
        }
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        for (slot, span) in [
            (&mut check.interval, options.interval),
            (&mut check.timeout, options.timeout),
            (&mut check.start_period, options.start_period),
        ] {
            *slot = span.map_or(*slot, nanos);
        }
        check.retries = options.retries.unwrap_or(check.retries);
        Ok(check.command().is_some().then_some(check))
    }

    /// The words to run.
    pub fn command(&self) -> Option<Vec<String>> {
        match self.test.split_first() {
            Some((kind, words)) if kind == "CMD" && !words.is_empty() => Some(words.to_vec()),
            Some((kind, [line, ..])) if kind == "CMD-SHELL" => {
                Some(vec!["/bin/sh".to_string(), "-c".to_string(), line.clone()])
            }
            _ => None,
        }
    }

    pub fn interval(&self) -> Duration {
        or_default(self.interval, INTERVAL)
    }

    pub fn timeout(&self) -> Duration {
        or_default(self.timeout, TIMEOUT)
    }

    pub fn start_period(&self) -> Duration {
        Duration::from_nanos(self.start_period)
    }

    fn retries(&self) -> u32 {
        if self.retries == 0 { RETRIES } else { self.retries }
    }
}

fn or_default(nanos: u64, default: Duration) -> Duration {
    if nanos == 0 { default } else { Duration::from_nanos(nanos) }
}

/// How a container is, as its row keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    pub failing_streak: u32,
    pub log: Vec<Probe>,
}

/// One result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Probe {
    pub start: String,
    pub end: String,
    pub exit_code: i32,
    pub output: String,
}

impl Health {
    pub fn starting() -> Health {
        Health { status: "starting".to_string(), ..Health::default() }
    }

    /// Adds a result. Failures in the start period do not count unless it was healthy before. Answers
    /// whether the status has changed.
    pub fn add(&mut self, probe: Probe, check: &HealthCheck, in_start_period: bool) -> bool {
        let before = self.status.clone();
        if probe.exit_code == 0 {
            self.failing_streak = 0;
            self.status = "healthy".to_string();
        } else if !(in_start_period && self.status == "starting") {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries() {
                self.status = "unhealthy".to_string();
            }
        }
        self.log.push(probe);
        let surplus = self.log.len().saturating_sub(KEPT);
        self.log.drain(..surplus);
        self.status != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(exit_code: i32) -> Probe {
        Probe { exit_code, ..Probe::default() }
    }

    #[test]
    fn users_words_lie_over_the_images() {
        let image = serde_json::json!({"Test": ["CMD", "probe"], "Interval": 5, "Retries": 7});
        let options = HealthOptions { retries: Some(1), ..HealthOptions::default() };
        let check = HealthCheck::resolve(Some(&image), &options).unwrap().unwrap();
        assert_eq!((check.interval, check.retries, check.command().unwrap()), (5, 1, vec!["probe".into()]));
        let off = HealthOptions { off: true, ..HealthOptions::default() };
        assert_eq!(HealthCheck::resolve(Some(&image), &off), Ok(None));
        let none = serde_json::json!({"Test": ["NONE"]});
        assert_eq!(HealthCheck::resolve(Some(&none), &HealthOptions::default()), Ok(None));
    }

    #[test]
    fn unhealthy_after_so_many_failures_in_a_row() {
        let check = HealthCheck { retries: 2, ..HealthCheck::default() };
        let mut health = Health::starting();
        assert!(!health.add(probe(1), &check, true));
        assert_eq!(health.failing_streak, 0, "the start period forgives");
        assert!(!health.add(probe(1), &check, false));
        assert!(health.add(probe(1), &check, false));
        assert_eq!(health.status, "unhealthy");
        assert!(health.add(probe(0), &check, false));
        for _ in 0..9 {
            health.add(probe(0), &check, false);
        }
        assert_eq!((health.log.len(), health.failing_streak), (KEPT, 0));
    }
}
