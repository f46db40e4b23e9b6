//! From what the host asks to what can be done: everything in a spec is checked here, once.

mod mounts;

use std::ffi::CString;

use rustix::thread::CapabilitySet;

pub use self::mounts::{Tmpfs, ValidMount};

use super::caps;
use super::rlimits::{self, Limit};
use super::targets::{self, TargetError};
use crate::error::shown;
use crate::protocol::{
    CallError, ContainerSpec, ErrorKind, OverlaidFile, Process, Resources, Root, RootSource, Seccomp, Share,
    TerminalSize, Text,
};

/// HOST_NAME_MAX of linux/limits.h.
const MAX_HOSTNAME: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error("{0}: must be 64 hexadecimal digits")]
    Id(&'static str),
    #[error("{0}")]
    Exec(&'static str),
    #[error("domainname: must have at most {MAX_HOSTNAME} bytes")]
    Domainname,
    #[error("hostname: must have 1 to {MAX_HOSTNAME} bytes")]
    Hostname,
    #[error("process.args: must have at least one element")]
    NoCommand,
    #[error("{field}: {value} holds a NUL byte")]
    Nul { field: &'static str, value: String },
    #[error("{field}: {value} is not an absolute path without `..`")]
    Path { field: &'static str, value: String },
    #[error("{0}")]
    Target(#[from] TargetError),
    #[error("mounts: {0}")]
    Bind(&'static str),
    #[error("{field}: unknown word {word:?}")]
    Word { field: &'static str, word: String },
    #[error("{field}: mode {mode:o} has bits beyond 7777")]
    Mode { field: &'static str, mode: u32 },
    #[error("root.source: {0}")]
    Source(&'static str),
    #[error("cgroup: {0}")]
    Cgroup(&'static str),
    #[error("resources.{field}: {why}")]
    Resource { field: &'static str, why: &'static str },
    #[error("resources.{0}: must not be 0")]
    Zero(&'static str),
}

impl From<SpecError> for CallError {
    fn from(error: SpecError) -> Self {
        CallError { kind: ErrorKind::Invalid, message: error.to_string() }
    }
}

/// Where the agent lives decides what a spec may name: a guest's disks, or a host's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Guest,
    Host,
}

/// A spec that holds together.
pub struct ValidSpec {
    pub id: String,
    pub hostname: String,
    /// Empty: it stays.
    pub domainname: String,
    pub root: Root,
    pub process: ValidProcess,
    /// In order.
    pub mounts: Vec<ValidMount>,
    /// But for those that a bind of the user takes the place of.
    pub files: Vec<OverlaidFile>,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
    pub resources: Resources,
    /// Below each hierarchy's root.
    pub cgroup: String,
    pub share: Share,
}

pub struct ValidProcess {
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub cwd: Text,
    pub user: Text,
    pub terminal: Option<TerminalSize>,
    pub stdin: bool,
    pub capabilities: CapabilitySet,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    pub rlimits: Vec<Limit>,
    pub init: bool,
}

/// Checks a spec for an agent that lives in `place`.
pub fn validate(spec: ContainerSpec, place: Place) -> Result<ValidSpec, SpecError> {
    check_id("id", &spec.id)?;
    check_hostname(&spec.hostname)?;
    check_domainname(&spec.domainname)?;
    check_source(&spec.root.source, place)?;
    check_resources(&spec.resources, place)?;
    if spec.resources.memory_swap_bytes.is_some() && spec.resources.memory_bytes.is_none() {
        let why = "needs memory_bytes, which it counts, too";
        return Err(SpecError::Resource { field: "memory_swap_bytes", why });
    }
    for file in &spec.files {
        check_path("files", &file.target)?;
        check_mode("files", file.mode)?;
    }
    for path in spec.masked_paths.iter().chain(&spec.readonly_paths) {
        check_path("masked_paths and readonly_paths", &Text::from(path.as_str()))?;
    }
    let cgroup = check_cgroup(spec.cgroup, &spec.id, place)?;
    let mounts = spec.mounts.into_iter().map(|mount| mounts::validate(mount, place));
    let mounts = mounts.collect::<Result<Vec<_>, _>>()?;
    Ok(ValidSpec {
        process: validate_process(spec.process)?,
        files: without_bound(spec.files, &mounts),
        mounts,
        id: spec.id,
        hostname: spec.hostname,
        domainname: spec.domainname,
        root: spec.root,
        masked_paths: spec.masked_paths,
        readonly_paths: spec.readonly_paths,
        resources: spec.resources,
        cgroup,
        share: spec.share,
    })
}

pub fn check_id(field: &'static str, id: &str) -> Result<(), SpecError> {
    let sound = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if sound { Ok(()) } else { Err(SpecError::Id(field)) }
}

pub fn check_hostname(name: &str) -> Result<(), SpecError> {
    if name.is_empty() || name.len() > MAX_HOSTNAME { Err(SpecError::Hostname) } else { Ok(()) }
}

/// setdomainname(2) has the same limit.
pub fn check_domainname(name: &str) -> Result<(), SpecError> {
    if name.len() > MAX_HOSTNAME { Err(SpecError::Domainname) } else { Ok(()) }
}

pub fn validate_process(process: Process) -> Result<ValidProcess, SpecError> {
    if process.args.is_empty() {
        return Err(SpecError::NoCommand);
    }
    check_path("process.cwd", &process.cwd)?;
    Ok(ValidProcess {
        args: c_strings("process.args", process.args)?,
        env: c_strings("process.env", process.env)?,
        cwd: process.cwd,
        user: process.user,
        terminal: process.terminal,
        stdin: process.stdin,
        capabilities: caps::parse(&process.capabilities)?,
        no_new_privileges: process.no_new_privileges,
        seccomp: process.seccomp,
        rlimits: process.rlimits.iter().map(rlimits::parse).collect::<Result<_, _>>()?,
        init: process.init,
    })
}

/// The user's own bind of such a file wins, as docker has it.
fn without_bound(mut files: Vec<OverlaidFile>, mounts: &[ValidMount]) -> Vec<OverlaidFile> {
    let bound = |path: &[u8]| mounts.iter().any(|mount| targets::clean(mount.target()) == path);
    files.retain(|file| !bound(&targets::clean(file.target.as_bytes())));
    files
}

/// A guest has no files of the host, and a host agent must never mount the host's own disks.
fn check_source(source: &RootSource, place: Place) -> Result<(), SpecError> {
    match (source, place) {
        (RootSource::Disks { .. }, Place::Host) => Err(SpecError::Source("disks exist in a guest only")),
        (RootSource::Files { .. } | RootSource::Folder { .. }, Place::Guest) => {
            Err(SpecError::Source("files exist on a host only"))
        }
        (RootSource::Disks { .. }, Place::Guest) => Ok(()),
        (RootSource::Files { metadata, layers, upper, work }, Place::Host) => [metadata, upper, work]
            .into_iter()
            .chain(layers)
            .try_for_each(|path| check_path("root.source", path)),
        (RootSource::Folder { lower, upper, work }, Place::Host) => {
            [lower, upper, work].into_iter().try_for_each(|path| check_path("root.source", path))
        }
    }
}

/// Limits that hold together, each and with each other.
pub fn check_resources(resources: &Resources, place: Place) -> Result<(), SpecError> {
    let r = resources;
    let fields = [
        ("memory_bytes", r.memory_bytes),
        ("memory_reservation_bytes", r.memory_reservation_bytes),
        ("memory_swap_bytes", r.memory_swap_bytes),
        ("cpu_millis", r.cpu_millis),
        ("cpu_shares", r.cpu_shares),
        ("cpu_period_us", r.cpu_period_us),
        ("cpu_quota_us", r.cpu_quota_us),
        ("pids", r.pids),
        ("shm_bytes", r.shm_bytes),
    ];
    if let Some((field, _)) = fields.iter().find(|(_, value)| *value == Some(0)) {
        return Err(SpecError::Zero(field));
    }
    let within = |value: Option<u64>, range: std::ops::RangeInclusive<u64>| {
        value.is_none_or(|value| range.contains(&value))
    };
    let refused = |field, why| Err(SpecError::Resource { field, why });
    if r.memory_swap_bytes < r.memory_bytes && r.memory_swap_bytes.is_some() {
        return refused("memory_swap_bytes", "must not be less than memory_bytes: it counts both");
    }
    if r.memory_reservation_bytes > r.memory_bytes && r.memory_bytes.is_some() {
        return refused("memory_reservation_bytes", "must not be more than memory_bytes");
    }
    if r.cpu_millis.is_some() && (r.cpu_period_us.is_some() || r.cpu_quota_us.is_some()) {
        return refused("cpu_millis", "stands for a period and a quota, which cannot be given beside it");
    }
    // What docker accepts; the kernel's own bounds for the period and the least quota.
    if !within(r.cpu_shares, 2..=262_144) {
        return refused("cpu_shares", "must be 2 to 262144");
    }
    if !within(r.cpu_period_us, 1_000..=1_000_000) {
        return refused("cpu_period_us", "must be 1000 to 1000000");
    }
    if !within(r.cpu_quota_us, 1_000..=u64::MAX) {
        return refused("cpu_quota_us", "must be at least 1000");
    }
    if place == Place::Guest && !r.io.is_empty() {
        return refused("io", "a guest's disks are limited by its host");
    }
    for limit in &r.io {
        check_path("resources.io", &limit.device)?;
        let rates = [limit.read_bps, limit.write_bps, limit.read_iops, limit.write_iops];
        if rates.contains(&Some(0)) {
            return Err(SpecError::Zero("io"));
        }
    }
    Ok(())
}

fn check_cgroup(cgroup: Option<String>, id: &str, place: Place) -> Result<String, SpecError> {
    match (cgroup, place) {
        (None, Place::Guest) => Ok(format!("hull/{id}")),
        (Some(_), Place::Guest) => Err(SpecError::Cgroup("a guest's agent chooses by itself")),
        // A user who was given no cgroups: nothing is made at that path.
        (None, Place::Host) if crate::sys::in_user_namespace() => Ok(format!("hull/{id}")),
        (None, Place::Host) => Err(SpecError::Cgroup("must be given on a host")),
        (Some(path), Place::Host) => {
            let sound = path.split('/').all(|name| !name.is_empty() && !name.starts_with('.'));
            if sound && !path.contains('\0') {
                Ok(path)
            } else {
                Err(SpecError::Cgroup("must be a relative path of plain names"))
            }
        }
    }
}

fn check_path(field: &'static str, path: &Text) -> Result<(), SpecError> {
    let bytes = path.as_bytes();
    let climbs = bytes.split(|&byte| byte == b'/').any(|name| name == b"..");
    if bytes.first() != Some(&b'/') || climbs || bytes.contains(&0) {
        return Err(SpecError::Path { field, value: shown(bytes).to_string() });
    }
    Ok(())
}

fn check_mode(field: &'static str, mode: u32) -> Result<(), SpecError> {
    if mode > 0o7777 { Err(SpecError::Mode { field, mode }) } else { Ok(()) }
}

fn c_strings(field: &'static str, texts: Vec<Text>) -> Result<Vec<CString>, SpecError> {
    let c_string = |text: Text| {
        CString::new(text.0)
            .map_err(|error| SpecError::Nul { field, value: shown(&error.into_vec()).to_string() })
    };
    texts.into_iter().map(c_string).collect()
}

#[cfg(test)]
mod tests;
