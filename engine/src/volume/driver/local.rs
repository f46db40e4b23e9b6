//! Options of the driver `local`, docker's: `type`, `o` and `device`, which are mount(2)'s, and hull's own
//! `kind=block` with `size`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::mounts;
use crate::container::size;
use crate::resolve::{self, Resolver};
use crate::rootless::in_user_namespace;
use crate::sandbox::disk;

/// For the addresses of a file server's name.
const RESOLVE: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum OptionError {
    #[error("invalid option: {0:?}")]
    Unknown(String),
    #[error("missing required option: {0:?}")]
    Missing(&'static str),
    #[error("quota size requested but no quota support: size= goes with kind=block")]
    Quota,
    #[error("invalid option: kind={0:?}; there is kind=block, a disk with a file system of its own")]
    Kind(String),
    #[error("invalid option: {0:?} goes with no kind=block, which has size")]
    OfBlock(String),
    #[error("invalid option: size={word}: {why}")]
    Size { word: String, why: String },
    #[error(
        "invalid option: type={0}: without root only folders can be mounted as volumes (type=none, o=bind); for memory \
         there is --tmpfs"
    )]
    NeedsRoot(String),
}

/// What a volume of the driver `local` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// A folder in the store.
    Plain,
    /// What is mounted while a sandbox has the volume.
    Mount(Mounting),
    /// A disk of so many bytes.
    Block(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounting {
    pub kind: String,
    pub device: String,
    pub words: String,
}

/// Reads options, by docker's rules.
pub fn read(options: &BTreeMap<String, String>) -> Result<Local, OptionError> {
    if let Some(kind) = options.get("kind") {
        return if kind == "block" { block(options) } else { Err(OptionError::Kind(kind.clone())) };
    }
    if let Some(key) = options.keys().find(|key| !["type", "o", "device", "size"].contains(&key.as_str())) {
        return Err(OptionError::Unknown(key.clone()));
    }
    if options.contains_key("size") {
        return Err(OptionError::Quota);
    }
    let get = |key: &str| options.get(key);
    let (kind, device, words) = match (get("type"), get("device"), get("o")) {
        (None, None, None) => return Ok(Local::Plain),
        (Some(kind), Some(device), words) => (kind, device, words),
        (None, _, _) => return Err(OptionError::Missing("type")),
        (Some(_), None, _) => return Err(OptionError::Missing("device")),
    };
    let mounting =
        Mounting { kind: kind.clone(), device: device.clone(), words: words.cloned().unwrap_or_default() };
    if in_user_namespace() && !flags(&mounting.words).0.contains(MsFlags::MS_BIND) {
        return Err(OptionError::NeedsRoot(mounting.kind));
    }
    Ok(Local::Mount(mounting))
}

fn block(options: &BTreeMap<String, String>) -> Result<Local, OptionError> {
    if let Some(key) = options.keys().find(|key| !["kind", "size"].contains(&key.as_str())) {
        return Err(OptionError::OfBlock(key.clone()));
    }
    let Some(word) = options.get("size") else { return Ok(Local::Block(disk::DEFAULT_SIZE)) };
    let refused = |why: String| OptionError::Size { word: word.clone(), why };
    let bytes = size::parse(word).map_err(|error| refused(error.to_string()))?;
    if !disk::SIZES.contains(&bytes) {
        let (least, most) = (disk::SIZES.start() >> 20, disk::SIZES.end() >> 40);
        return Err(refused(format!("a disk has {least}m at least and {most}t at most")));
    }
    Ok(Local::Block(bytes))
}

/// In docker's words.
#[derive(Debug, thiserror::Error)]
#[error("error while mounting volume '{}': failed to mount local volume: {what}", .place.display())]
pub struct LocalMountError {
    place: PathBuf,
    what: String,
    source: MountCause,
}

#[derive(Debug, thiserror::Error)]
pub enum MountCause {
    #[error(transparent)]
    Errno(#[from] Errno),
    #[error(transparent)]
    Resolve(#[from] resolve::Error),
}

impl Mounting {
    /// Mounts it at `place`, where it may be mounted already.
    pub fn mount(&self, place: &Path) -> Result<(), super::VolumeError> {
        if mounts::is_mounted(place)? {
            return Ok(());
        }
        Ok(self.mount_new(place)?)
    }

    fn mount_new(&self, place: &Path) -> Result<(), LocalMountError> {
        let (flags, data) = flags(&self.words);
        let failed =
            |what: String, source: MountCause| LocalMountError { place: place.to_owned(), what, source };
        let data = match self.kind.as_str() {
            "nfs" | "nfs4" | "cifs" => with_address(&data).map_err(|error| {
                failed(format!("error resolving passed in network volume address: {data}"), error.into())
            })?,
            _ => data,
        };
        let kind = OsStr::new(&self.kind);
        // What changes how mounts show elsewhere goes alone, and a bind is only made read-only when it is there.
        let first = flags.difference(PROPAGATION);
        let mounted = mount(Some(self.device.as_str()), place, Some(kind), first, Some(data.as_str()));
        let told = |errno| failed(self.words_of(place, flags, &data), MountCause::Errno(errno));
        mounted.map_err(told)?;
        let changed = self.change(place, flags, first);
        changed.inspect_err(|_| drop(mounts::unmount(place))).map_err(told)
    }

    fn change(&self, place: &Path, flags: MsFlags, first: MsFlags) -> Result<(), Errno> {
        const NONE: Option<&str> = None;
        if flags.intersects(PROPAGATION) {
            let flags = flags.intersection(PROPAGATION | MsFlags::MS_REC);
            mount(NONE, place, NONE, flags, NONE)?;
        }
        if first.contains(MsFlags::MS_BIND | MsFlags::MS_RDONLY) {
            mount(NONE, place, NONE, first | MsFlags::MS_REMOUNT, NONE)?;
        }
        Ok(())
    }

    /// As moby/sys/mount tells a failure.
    fn words_of(&self, place: &Path, flags: MsFlags, data: &str) -> String {
        let mut words = format!("mount {}:{}", self.device, place.display());
        if !flags.is_empty() {
            words += &format!(", flags: {:#x}", flags.bits());
        }
        if !data.is_empty() {
            words += &format!(", data: {data}");
        }
        words
    }
}

const PROPAGATION: MsFlags =
    MsFlags::MS_SHARED.union(MsFlags::MS_PRIVATE).union(MsFlags::MS_SLAVE).union(MsFlags::MS_UNBINDABLE);

/// mount(2)'s flags by the names of mount(8), and what they clear.
const FLAGS: [(&str, bool, MsFlags); 33] = [
    ("defaults", true, MsFlags::empty()),
    ("async", false, MsFlags::MS_SYNCHRONOUS),
    ("atime", false, MsFlags::MS_NOATIME),
    ("bind", true, MsFlags::MS_BIND),
    ("dev", false, MsFlags::MS_NODEV),
    ("diratime", false, MsFlags::MS_NODIRATIME),
    ("dirsync", true, MsFlags::MS_DIRSYNC),
    ("exec", false, MsFlags::MS_NOEXEC),
    ("mand", true, MsFlags::MS_MANDLOCK),
    ("noatime", true, MsFlags::MS_NOATIME),
    ("nodev", true, MsFlags::MS_NODEV),
    ("nodiratime", true, MsFlags::MS_NODIRATIME),
    ("noexec", true, MsFlags::MS_NOEXEC),
    ("nomand", false, MsFlags::MS_MANDLOCK),
    ("norelatime", false, MsFlags::MS_RELATIME),
    ("nostrictatime", false, MsFlags::MS_STRICTATIME),
    ("nosuid", true, MsFlags::MS_NOSUID),
    ("private", true, MsFlags::MS_PRIVATE),
    ("rbind", true, MsFlags::MS_BIND.union(MsFlags::MS_REC)),
    ("relatime", true, MsFlags::MS_RELATIME),
    ("remount", true, MsFlags::MS_REMOUNT),
    ("ro", true, MsFlags::MS_RDONLY),
    ("rprivate", true, MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
    ("rshared", true, MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
    ("rslave", true, MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
    ("runbindable", true, MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
    ("rw", false, MsFlags::MS_RDONLY),
    ("shared", true, MsFlags::MS_SHARED),
    ("slave", true, MsFlags::MS_SLAVE),
    ("strictatime", true, MsFlags::MS_STRICTATIME),
    ("suid", false, MsFlags::MS_NOSUID),
    ("sync", true, MsFlags::MS_SYNCHRONOUS),
    ("unbindable", true, MsFlags::MS_UNBINDABLE),
];

/// `o=` as mount(2) wants it: flags, and what is left for the file system.
fn flags(words: &str) -> (MsFlags, String) {
    let (mut flags, mut data) = (MsFlags::empty(), Vec::new());
    for word in words.split(',').filter(|word| !word.is_empty()) {
        match FLAGS.iter().find(|(name, ..)| *name == word) {
            Some((_, true, bits)) => flags |= *bits,
            Some((_, false, bits)) => flags -= *bits,
            None => data.push(word),
        }
    }
    (flags, data.join(","))
}

/// The kernel takes no names.
fn with_address(data: &str) -> Result<String, resolve::Error> {
    let resolved = |word: &str| match word.strip_prefix("addr=") {
        Some(host) if host.parse::<IpAddr>().is_err() => {
            let found = Resolver::default().lookup(host, Instant::now() + RESOLVE)?;
            Ok(found.first().map_or_else(|| word.to_owned(), |address| format!("addr={address}")))
        }
        _ => Ok(word.to_owned()),
    };
    Ok(data.split(',').map(resolved).collect::<Result<Vec<_>, resolve::Error>>()?.join(","))
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
