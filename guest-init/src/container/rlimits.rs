//! Resource limits of the container's process. getrlimit(2)

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::spec::SpecError;
use crate::error::{Step, StepError};
use crate::protocol::Rlimit;

const NAMES: [(&str, Resource); 16] = [
    ("RLIMIT_CPU", Resource::Cpu),
    ("RLIMIT_FSIZE", Resource::Fsize),
    ("RLIMIT_DATA", Resource::Data),
    ("RLIMIT_STACK", Resource::Stack),
    ("RLIMIT_CORE", Resource::Core),
    ("RLIMIT_RSS", Resource::Rss),
    ("RLIMIT_NPROC", Resource::Nproc),
    ("RLIMIT_NOFILE", Resource::Nofile),
    ("RLIMIT_MEMLOCK", Resource::Memlock),
    ("RLIMIT_AS", Resource::As),
    ("RLIMIT_LOCKS", Resource::Locks),
    ("RLIMIT_SIGPENDING", Resource::Sigpending),
    ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
    ("RLIMIT_NICE", Resource::Nice),
    ("RLIMIT_RTPRIO", Resource::Rtprio),
    ("RLIMIT_RTTIME", Resource::Rttime),
];

#[derive(Debug)]
pub struct Limit {
    name: &'static str,
    resource: Resource,
    soft: u64,
    hard: u64,
}

pub fn parse(limit: &Rlimit) -> Result<Limit, SpecError> {
    let known = NAMES.iter().find(|(name, _)| *name == limit.name);
    let Some((name, resource)) = known else {
        return Err(SpecError::Word { field: "process.rlimits", word: limit.name.clone() });
    };
    Ok(Limit { name, resource: *resource, soft: limit.soft, hard: limit.hard })
}

/// Raises the agent's own limit of open descriptors as far as it may: a thousand connections need more
/// than the usual soft limit. Returns what it was, for the containers.
pub fn raise_descriptors() -> rustix::process::Rlimit {
    let inherited = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: inherited.maximum, maximum: inherited.maximum };
    // Left as it is, it only lets fewer connections in.
    let _ = setrlimit(Resource::Nofile, raised);
    inherited
}

/// Sets the limits; where the host forbids raising one, as far as its hard limit. `descriptors` is
/// what counts where none is asked for.
pub fn apply(limits: &[Limit], descriptors: rustix::process::Rlimit) -> Result<(), StepError> {
    setrlimit(Resource::Nofile, descriptors).step("set RLIMIT_NOFILE")?;
    for limit in limits {
        match set(limit.resource, limit.soft, limit.hard) {
            Err(Errno::PERM) => {
                let allowed = getrlimit(limit.resource).maximum.unwrap_or(u64::MAX);
                set(limit.resource, limit.soft.min(allowed), limit.hard.min(allowed))
            }
            other => other,
        }
        .step(format_args!("set {}", limit.name))?;
    }
    Ok(())
}

fn set(resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    // The kernel's RLIM_INFINITY is u64::MAX, rustix's is None.
    let finite = |value: u64| (value != u64::MAX).then_some(value);
    setrlimit(resource, rustix::process::Rlimit { current: finite(soft), maximum: finite(hard) })
}
