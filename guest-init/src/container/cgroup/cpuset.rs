//! Which CPUs: lists of them, and what a v1 cpuset needs before a process can be in it.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Step, StepError};
use crate::protocol::ErrorKind;

/// Higher than any kernel's (CONFIG_NR_CPUS).
const MAX_CPU: usize = 8192;

/// `0-2,7`. None for what is not such a list.
fn parse(list: &str) -> Option<BTreeSet<usize>> {
    let mut cpus = BTreeSet::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<usize>().ok()).flatten().filter(|&cpu| cpu < MAX_CPU)
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// Refuses a list that is none, or names CPUs that are not here.
pub fn check(list: &str) -> Result<(), StepError> {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    check_against(list, online.trim())
}

fn check_against(list: &str, online: &str) -> Result<(), StepError> {
    let invalid =
        |why: String| Err(StepError::new(ErrorKind::Invalid, format!("resources.cpuset_cpus: {why}")));
    let Some(wanted) = parse(list) else {
        return invalid(format!("{list:?} is not a list of CPUs like \"0-2,7\""));
    };
    match parse(online) {
        Some(there) if !wanted.is_subset(&there) => invalid(format!(
            "{list} asks for CPUs that are not available: there are {}, {online}",
            there.len()
        )),
        _ => Ok(()),
    }
}

/// v1: each cpuset from the top down gets what it lacks from the one above; with an empty one no process can
/// join. Documentation/admin-guide/cgroup-v1/cpusets.rst
pub fn inherit(mount: &str, path: &str) -> Result<(), StepError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut folder = Path::new(mount).to_owned();
        let mut above = read(&folder.join(file))?;
        for name in path.split('/') {
            folder.push(name);
            let own = read(&folder.join(file))?;
            if own.is_empty() {
                let written = std::fs::write(folder.join(file), &above);
                written.map_err(errno).step(format_args!("set {file} of {}", folder.display()))?;
            } else {
                above = own;
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, StepError> {
    let text = std::fs::read_to_string(path).map_err(errno).step(format_args!("read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_ranges_and_numbers() {
        assert_eq!(parse("0-2,7\n"), Some(BTreeSet::from([0, 1, 2, 7])));
        for wrong in ["", "a", "2-1", "1,", "-1", "0-99999", "+1", "1-"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn missing_cpus_are_refused_with_what_there_is() {
        assert!(check_against("0-1", "0-3").is_ok());
        let error = check_against("2,9", "0-3").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("there are 4, 0-3"), "{error}");
    }
}
