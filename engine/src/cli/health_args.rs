//! `--health-*`.

use std::time::Duration;

use clap::Args;

use crate::container::health::HealthOptions;
use crate::time::parse_duration;

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Shell command that says whether the container is healthy
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between checks, as 1m30s [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    health_interval: Option<Duration>,
    /// What a check may take [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    health_timeout: Option<Duration>,
    /// Time to come up, in which failures do not count [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    health_start_period: Option<Duration>,
    /// Failures in a row that make the container unhealthy [default: 3]
    #[arg(long, value_name = "N")]
    health_retries: Option<u32>,
    /// Leave the image's health check out
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthArgs {
    pub fn options(self) -> HealthOptions {
        HealthOptions {
            off: self.no_healthcheck,
            command: self.health_cmd,
            interval: self.health_interval,
            timeout: self.health_timeout,
            start_period: self.health_start_period,
            retries: self.health_retries,
        }
    }
}

/// Zero, or at least a millisecond, as docker has it.
fn duration(word: &str) -> Result<Duration, &'static str> {
    const LEAST: Duration = Duration::from_millis(1);
    let ns = parse_duration(word).ok_or("it is not a duration like 1m30s")?;
    match u64::try_from(ns).map(Duration::from_nanos) {
        Ok(span) if span.is_zero() || span >= LEAST => Ok(span),
        Ok(_) => Err("it is less than 1ms"),
        Err(_) => Err("it is negative"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_zero_or_a_millisecond_at_least() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!((duration("0"), duration("1ms")), (Ok(Duration::ZERO), Ok(Duration::from_millis(1))));
        for bad in ["5", "-1s", "500us", ""] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
