//! `--cpuset-cpus`: lists like `0-2,7` (cpuset(7), "List format").

use super::LimitError;

const ONLINE: &str = "/sys/devices/system/cpu/online";
/// More than the kernel is built for anywhere; bounds what a list can cost.
const MOST: u32 = 8192;

/// The machine's CPUs, as such a list.
pub fn online() -> String {
    match std::fs::read_to_string(ONLINE) {
        Ok(list) => list.trim().to_string(),
        Err(_) => {
            let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            format!("0-{}", count - 1)
        }
    }
}

/// A list of CPUs that are all online; an empty one says nothing.
pub fn cpuset(asked: &str, online: &str) -> Result<Option<String>, LimitError> {
    if asked.is_empty() {
        return Ok(None);
    }
    let wanted = parse(asked).ok_or_else(|| LimitError::Cpuset(asked.to_string()))?;
    let there = parse(online).unwrap_or_default();
    if wanted.iter().all(|cpu| there.contains(cpu)) {
        return Ok(Some(asked.to_string()));
    }
    Err(LimitError::NoSuchCpu { asked: asked.to_string(), online: online.to_string() })
}

fn parse(list: &str) -> Option<Vec<u32>> {
    let number = |word: &str| word.parse::<u32>().ok().filter(|cpu| *cpu < MOST);
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

/// The highest CPU of a list.
pub fn highest(list: &str) -> Option<u32> {
    parse(list)?.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_the_kernels() {
        assert_eq!(parse("0-2,7,1"), Some(vec![0, 1, 2, 7]));
        assert_eq!(highest("0,3-5"), Some(5));
        for bad in ["", ",", "x", "1-0", "1-", "-1", "0,", "0-99999999"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_cpus_that_are_online_can_be_asked_for() {
        assert_eq!(cpuset("0,1", "0-1"), Ok(Some("0,1".to_string())));
        assert_eq!(cpuset("", "0-1"), Ok(None));
        assert!(matches!(cpuset("0-2", "0-1"), Err(LimitError::NoSuchCpu { .. })));
        assert!(matches!(cpuset("x", "0-1"), Err(LimitError::Cpuset(_))));
        assert!(parse(&online()).is_some());
    }
}
