//! Limits from the command line: `--ulimit`, `--cpus`, `-m`, `--pids-limit`.

use hull_guest::protocol::Rlimit;

use super::size;

/// The names docker takes, and setrlimit(2)'s.
const RLIMITS: [(&str, &str); 15] = [
    ("core", "RLIMIT_CORE"),
    ("cpu", "RLIMIT_CPU"),
    ("data", "RLIMIT_DATA"),
    ("fsize", "RLIMIT_FSIZE"),
    ("locks", "RLIMIT_LOCKS"),
    ("memlock", "RLIMIT_MEMLOCK"),
    ("msgqueue", "RLIMIT_MSGQUEUE"),
    ("nice", "RLIMIT_NICE"),
    ("nofile", "RLIMIT_NOFILE"),
    ("nproc", "RLIMIT_NPROC"),
    ("rss", "RLIMIT_RSS"),
    ("rtprio", "RLIMIT_RTPRIO"),
    ("rttime", "RLIMIT_RTTIME"),
    ("sigpending", "RLIMIT_SIGPENDING"),
    ("stack", "RLIMIT_STACK"),
];

/// Below this, setting up the container itself would meet the limit (docker's bound too).
const MIN_MEMORY: u64 = 6 << 20;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    #[error("--ulimit \"{0}\" is not NAME=SOFT[:HARD], with -1 for unlimited")]
    Ulimit(String),
    #[error("--ulimit {name}: the soft limit {soft} is above the hard limit {hard}")]
    SoftAboveHard { name: String, soft: u64, hard: u64 },
    #[error("--cpus \"{0}\" is not a number of CPUs like 1.5, at least 0.01")]
    Cpus(String),
    #[error("--cpus {asked} is more than this machine's {online}")]
    TooManyCpus { asked: String, online: usize },
    #[error("-m {0} is below the least a container can be set up in, 6m")]
    Memory(String),
    #[error("--pids-limit {0} is not a positive number, or -1 for none")]
    Pids(i64),
    #[error(transparent)]
    Size(#[from] size::SizeError),
}

pub fn ulimit(text: &str) -> Result<Rlimit, LimitError> {
    let refuse = || LimitError::Ulimit(text.to_string());
    let (name, values) = text.split_once('=').ok_or_else(refuse)?;
    let known = RLIMITS.into_iter().find(|(short, _)| *short == name).ok_or_else(refuse)?.1;
    let value = |word: &str| match word {
        "-1" | "unlimited" => Ok(u64::MAX),
        word => word.parse::<u64>().map_err(|_| refuse()),
    };
    let (soft, hard) = match values.split_once(':') {
        Some((soft, hard)) => (value(soft)?, value(hard)?),
        None => (value(values)?, value(values)?),
    };
    if soft > hard {
        return Err(LimitError::SoftAboveHard { name: name.to_string(), soft, hard });
    }
    Ok(Rlimit { name: known.to_string(), soft, hard })
}

/// The name docker has for a limit.
pub fn rlimit_name(name: &str) -> &str {
    RLIMITS.into_iter().find(|(_, known)| *known == name).map_or(name, |(short, _)| short)
}

/// Thousandths of a CPU; zero is no limit, as docker's.
pub fn cpus(text: &str, online: usize) -> Result<Option<u64>, LimitError> {
    let refuse = || LimitError::Cpus(text.to_string());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || (whole.is_empty() && fraction.is_empty()) {
        return Err(refuse());
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().map_err(|_| refuse())? };
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    let part = thousandths.parse::<u64>().map_err(|_| refuse())?;
    let millis = whole.checked_mul(1000).and_then(|n| n.checked_add(part)).ok_or_else(refuse)?;
    if millis == 0 && !text.contains(|digit| matches!(digit, '1'..='9')) {
        return Ok(None);
    }
    if millis < 10 {
        return Err(refuse());
    }
    if millis > u64::try_from(online).unwrap_or(u64::MAX).saturating_mul(1000) {
        return Err(LimitError::TooManyCpus { asked: text.to_string(), online });
    }
    Ok(Some(millis))
}

pub fn memory(text: &str) -> Result<Option<u64>, LimitError> {
    match size::parse(text)? {
        0 => Ok(None),
        bytes if bytes < MIN_MEMORY => Err(LimitError::Memory(text.to_string())),
        bytes => Ok(Some(bytes)),
    }
}

pub fn pids(limit: i64) -> Result<Option<u64>, LimitError> {
    match limit {
        -1 | 0 => Ok(None),
        limit => u64::try_from(limit).map(Some).map_err(|_| LimitError::Pids(limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits_read_as_docker_reads_them() {
        let limit = ulimit("nofile=1024:2048").unwrap();
        assert_eq!((limit.name.as_str(), limit.soft, limit.hard), ("RLIMIT_NOFILE", 1024, 2048));
        assert_eq!(ulimit("core=-1").unwrap().hard, u64::MAX);
        for bad in ["nofile", "files=1", "nofile=a", "nofile=1:b", "nofile="] {
            assert_eq!(ulimit(bad).unwrap_err(), LimitError::Ulimit(bad.into()));
        }
        assert!(matches!(ulimit("nofile=2:1"), Err(LimitError::SoftAboveHard { .. })));
    }

    #[test]
    fn cpus_are_thousandths_within_the_machine() {
        assert_eq!(cpus("1.5", 2), Ok(Some(1500)));
        assert_eq!(cpus(".25", 2), Ok(Some(250)));
        assert!(matches!(cpus("3", 2), Err(LimitError::TooManyCpus { .. })));
        assert_eq!(cpus("0", 2), Ok(None));
        for bad in ["", ".", "-1", "one", "0.001", "1.x"] {
            assert_eq!(cpus(bad, 2), Err(LimitError::Cpus(bad.into())), "{bad}");
        }
    }

    #[test]
    fn memory_below_what_set_up_takes_is_refused() {
        assert_eq!(memory("64m"), Ok(Some(64 << 20)));
        assert_eq!(memory("0"), Ok(None));
        assert!(memory("1m").is_err());
    }
}
