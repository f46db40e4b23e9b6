//! Limits from the command line: each word by itself, and what they say together.

mod cpuset;
mod io;

use hull_guest::protocol::{Resources, Rlimit};

use super::size;
pub use cpuset::{cpuset, highest, online};
pub use io::{Bound, IoWord, merge};

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

/// The kernel's bounds (sched_group_set_shares; MIN_SHARES, MAX_SHARES).
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// And those of CFS bandwidth control, in microseconds.
const PERIODS: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
const MIN_QUOTA: u64 = 1_000;

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
    #[error("--memory-reservation {0} is below the least a container can be set up in, 6m")]
    Reservation(String),
    #[error("-m is less than --memory-reservation")]
    ReservationAboveMemory,
    #[error("--memory-swap is memory and swap together, so it needs -m beside it")]
    SwapWithoutMemory,
    #[error("--memory-swap is memory and swap together, so it cannot be less than -m")]
    SwapBelowMemory,
    #[error("-m is above the container's --memory-swap; update that at the same time")]
    MemoryAboveSwap,
    #[error("--cpu-shares {0} is not between 2 and 262144")]
    Shares(i64),
    #[error("--cpu-period {0} is not between 1000 and 1000000 (microseconds)")]
    Period(i64),
    #[error("--cpu-quota {0} is below 1000 (microseconds)")]
    Quota(i64),
    #[error("--cpus conflicts with --cpu-period and --cpu-quota: it stands for both")]
    CpusTwice,
    #[error("--cpuset-cpus \"{0}\" is not a list of CPUs like 0-2,7")]
    Cpuset(String),
    #[error("--cpuset-cpus {asked}: this machine has {online}")]
    NoSuchCpu { asked: String, online: String },
    #[error("--device-{bound} \"{word}\" is not PATH:RATE, with a path below /dev and a rate above zero{}", bound.units())]
    Io { bound: Bound, word: String },
    #[error("--device-{bound} {path}: there is no such block device here")]
    NoDevice { bound: Bound, path: String },
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

/// A soft limit.
pub fn reservation(text: &str) -> Result<Option<u64>, LimitError> {
    match size::parse(text)? {
        0 => Ok(None),
        bytes if bytes < MIN_MEMORY => Err(LimitError::Reservation(text.to_string())),
        bytes => Ok(Some(bytes)),
    }
}

/// Memory and swap together; -1 is as much swap as there is.
pub fn swap(text: &str) -> Result<Option<u64>, LimitError> {
    match text {
        "-1" => Ok(Some(u64::MAX)),
        text => Ok(Some(size::parse(text)?).filter(|bytes| *bytes > 0)),
    }
}

pub fn shares(asked: i64) -> Result<Option<u64>, LimitError> {
    within(asked, |shares| SHARES.contains(&shares)).ok_or(LimitError::Shares(asked))
}

pub fn period(asked: i64) -> Result<Option<u64>, LimitError> {
    within(asked, |period| PERIODS.contains(&period)).ok_or(LimitError::Period(asked))
}

/// Negative is no limit.
pub fn quota(asked: i64) -> Result<Option<u64>, LimitError> {
    if asked < 0 {
        return Ok(Some(u64::MAX));
    }
    within(asked, |quota| quota >= MIN_QUOTA).ok_or(LimitError::Quota(asked))
}

/// Zero is as if nothing had been said. None: out of bounds.
fn within(asked: i64, sound: impl Fn(u64) -> bool) -> Option<Option<u64>> {
    match u64::try_from(asked).ok()? {
        0 => Some(None),
        value => sound(value).then_some(Some(value)),
    }
}

pub fn pids(limit: i64) -> Result<Option<u64>, LimitError> {
    match limit {
        -1 | 0 => Ok(Some(u64::MAX)),
        limit => u64::try_from(limit).map(Some).map_err(|_| LimitError::Pids(limit)),
    }
}

/// What a container may be created with.
pub fn check(asked: &Resources) -> Result<(), LimitError> {
    if asked.memory_bytes.is_none() && asked.memory_swap_bytes.is_some_and(|both| both != u64::MAX) {
        return Err(LimitError::SwapWithoutMemory);
    }
    check_pairs(asked)
}

/// What a container that has `now` may be updated by.
pub fn check_update(now: &Resources, new: &Resources) -> Result<(), LimitError> {
    check_pairs(new)?;
    let memory = new.memory_bytes.or(now.memory_bytes);
    match (memory, new.memory_swap_bytes, now.memory_swap_bytes) {
        (None, Some(both), _) if both != u64::MAX => return Err(LimitError::SwapWithoutMemory),
        (Some(memory), Some(both), _) if both < memory => return Err(LimitError::SwapBelowMemory),
        (Some(memory), None, Some(both)) if both < memory => return Err(LimitError::MemoryAboveSwap),
        _ => {}
    }
    let rationed = |r: &Resources| r.cpu_period_us.is_some() || r.cpu_quota_us.is_some();
    if (new.cpu_millis.is_some() && rationed(now)) || (now.cpu_millis.is_some() && rationed(new)) {
        return Err(LimitError::CpusTwice);
    }
    Ok(())
}

fn check_pairs(asked: &Resources) -> Result<(), LimitError> {
    if let (Some(memory), Some(reservation)) = (asked.memory_bytes, asked.memory_reservation_bytes)
        && reservation > memory
    {
        return Err(LimitError::ReservationAboveMemory);
    }
    if let (Some(memory), Some(both)) = (asked.memory_bytes, asked.memory_swap_bytes)
        && both < memory
    {
        return Err(LimitError::SwapBelowMemory);
    }
    if asked.cpu_millis.is_some() && (asked.cpu_period_us.is_some() || asked.cpu_quota_us.is_some()) {
        return Err(LimitError::CpusTwice);
    }
    Ok(())
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

    #[test]
    fn soft_limits_and_swap_have_their_bounds() {
        assert_eq!((reservation("0"), reservation("64m")), (Ok(None), Ok(Some(64 << 20))));
        assert!(reservation("1m").is_err());
        assert_eq!((swap("-1"), swap("0"), swap("1g")), (Ok(Some(u64::MAX)), Ok(None), Ok(Some(1 << 30))));
        assert!(swap("-2").is_err());
    }

    #[test]
    fn shares_periods_and_quotas_have_the_kernels_bounds() {
        assert_eq!((shares(0), shares(2), shares(262_144)), (Ok(None), Ok(Some(2)), Ok(Some(262_144))));
        assert!(shares(1).is_err() && shares(262_145).is_err() && shares(-1).is_err());
        assert_eq!((period(0), period(1000)), (Ok(None), Ok(Some(1000))));
        assert!(period(999).is_err() && period(1_000_001).is_err() && period(-1).is_err());
        assert_eq!((quota(0), quota(-1), quota(1000)), (Ok(None), Ok(Some(u64::MAX)), Ok(Some(1000))));
        assert!(quota(999).is_err());
    }

    fn limits(memory: Option<u64>, reservation: Option<u64>, swap: Option<u64>) -> Resources {
        Resources {
            memory_bytes: memory,
            memory_reservation_bytes: reservation,
            memory_swap_bytes: swap,
            ..Resources::default()
        }
    }

    #[test]
    fn memory_words_that_contradict_each_other_are_refused() {
        assert_eq!(check(&limits(Some(8), Some(9), None)), Err(LimitError::ReservationAboveMemory));
        assert_eq!(check(&limits(None, None, Some(9))), Err(LimitError::SwapWithoutMemory));
        assert_eq!(check(&limits(Some(9), None, Some(8))), Err(LimitError::SwapBelowMemory));
        assert_eq!(check(&limits(None, None, Some(u64::MAX))), Ok(()));
        assert_eq!(check(&limits(Some(9), Some(9), Some(9))), Ok(()));
    }

    #[test]
    fn updates_are_checked_against_what_the_container_has() {
        let now = limits(Some(8), None, Some(9));
        assert_eq!(check_update(&now, &limits(Some(10), None, None)), Err(LimitError::MemoryAboveSwap));
        assert_eq!(check_update(&now, &limits(None, None, Some(7))), Err(LimitError::SwapBelowMemory));
        assert_eq!(check_update(&now, &limits(Some(10), None, Some(10))), Ok(()));
        // Without a word on swap there is none, and the limit is free to move.
        assert_eq!(check_update(&limits(Some(8), None, None), &limits(Some(10), None, None)), Ok(()));
        let cpus = Resources { cpu_millis: Some(1), ..Resources::default() };
        let quota = Resources { cpu_quota_us: Some(5000), ..Resources::default() };
        assert_eq!(check_update(&cpus, &quota), Err(LimitError::CpusTwice));
        assert_eq!(check_update(&quota, &cpus), Err(LimitError::CpusTwice));
        assert_eq!(check_update(&cpus, &cpus), Ok(()));
    }
}
