//! From a container's binds and volumes to what its agent is told, at each start anew.
//!
//! ```text
//!   prepare (keeper)                          told (once the sandbox is up)
//!   folders made, volumes mounted,    ──►     machine: each source a share of its file server, or a disk
//!   sources opened, copies begun              host: the paths themselves
//! ```
//!
//! A machine's sources are opened here, where the user named them, and handed over as mounts of their own: what
//! serves them to the guest never looks up a path of the host's.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use hull_guest::beneath;
use hull_guest::protocol::{Bind, BindSource, Disk, Mount, Text};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::machine::{self, MachineError};
use super::patience::{CallOff, Patience};
use super::populate::{self, Population};
use super::{Kind, MountPoint, VolumeError, driver};
use crate::sandbox::mode::Isolation;
use crate::sandbox::{Block, ShareError, tree};
use crate::store::{self, Store};

#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    // Docker's words, as far as it has any. What the agent opens by its path it tells of itself.
    #[error("error while creating mount source path '{}'", .path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {}", .0.display())]
    Missing(PathBuf),
    #[error("Failed to open {}, which is to be mounted at {target}", .path.display())]
    Open { path: PathBuf, target: String, source: io::Error },
    #[error("cannot access path {}", .path.display())]
    Subpath { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(
        "Volume {0} is a disk, which the virtual machine was built without; one of a pod cannot have it, and for \
         others the container has to be stopped and started"
    )]
    NoDisk(String),
    #[error("Failed to show {target} to the virtual machine")]
    Share { target: String, source: ShareError },
    #[error(
        "Failed to make the volume at {target} read-only for the virtual machine, which has filled it from the image"
    )]
    Seal { target: String, source: ShareError },
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What a machine has to be built with for a container's binds and volumes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// A shared file system.
    pub shares: bool,
    /// Further disks, by volume.
    pub blocks: Vec<String>,
}

impl Needs {
    pub fn of(store: &Store, mode: Isolation, volumes: &[MountPoint]) -> Result<Needs, store::Error> {
        let mut needs = Needs::default();
        for volume in volumes.iter().filter(|_| mode == Isolation::Vm) {
            match &volume.kind {
                Kind::Volume { name, .. } if store.db().volume(name)?.settings.block_bytes.is_some() => {
                    if !needs.blocks.contains(name) {
                        needs.blocks.push(name.clone());
                    }
                }
                Kind::Volume { .. } | Kind::Bind { .. } => needs.shares = true,
            }
        }
        Ok(needs)
    }

    /// A pod's containers come later.
    pub fn of_pod(mode: Isolation) -> Needs {
        Needs { shares: mode == Isolation::Vm, blocks: Vec::new() }
    }
}

/// The disks of a machine that is about to start. Nobody else has them as long as they are open.
pub fn blocks(store: &Store, sandbox: &str, names: &[String]) -> Result<Vec<Block>, AttachError> {
    let mut blocks = Vec::new();
    for name in names {
        // Nothing else is done for the sandbox meanwhile.
        let mounted = driver::mount(store, name, sandbox, Isolation::Vm, Patience::COMMAND)?;
        let driver::Mounted::Disk(path) = mounted else { continue };
        let file = driver::block::open(&path).map_err(VolumeError::from)?;
        blocks.push(Block { volume: name.clone(), file });
    }
    Ok(blocks)
}

/// What is ready on the host for a start.
#[derive(Default)]
pub struct Prepared {
    points: Vec<Point>,
    populations: Vec<Population>,
}

struct Point {
    bind: Bind,
    /// Of a machine: what becomes of `bind`'s source.
    place: Place,
}

enum Place {
    /// On the host: the source is there already.
    Told,
    /// A mount to share. `fills`: it is to be read only, and written to until the agent has filled it.
    Tree { mount: OwnedFd, fills: bool },
    /// A volume that is a disk of the machine's.
    Disk(String),
}

/// Makes everything ready that takes privileges. Volumes are mounted for the sandbox until that ends; nothing else is
/// left of it when it fails. It takes as long as plugins, file servers and the copies of other containers do, unless it
/// is called off.
pub fn prepare(
    store: &Store,
    sandbox: &str,
    mode: Isolation,
    volumes: &[MountPoint],
    start: &CallOff,
) -> Result<Prepared, AttachError> {
    let mut prepared = Prepared::default();
    let mut known = HashMap::new();
    let patience = Patience::UntilOff(start);
    // In an order that is the same for everybody: each may be waited for with those before it in hand.
    for (name, fills) in named(volumes) {
        let mounted = driver::mount(store, name, sandbox, mode, patience)?;
        let (fills, population) = match (&mounted, fills) {
            (driver::Mounted::Folder(_), true) => {
                let population = populate::begin(store, &store.db().volume(name)?, patience)?;
                (population.is_some(), population)
            }
            // The host does not look into it; the guest's agent sees whether it is empty.
            (driver::Mounted::Disk(_), fills) => (fills, None),
            (driver::Mounted::Folder(_), false) => (false, None),
        };
        known.insert(name, Known { mounted, fills });
        prepared.populations.extend(population);
    }
    for volume in volumes {
        prepared.points.push(point(mode, volume, &mut known)?);
    }
    Ok(prepared)
}

struct Known {
    mounted: driver::Mounted,
    /// What the image has at the target is still to be copied into it.
    fills: bool,
}

/// The volumes' names, and whether they get what the image has where they are empty.
fn named(volumes: &[MountPoint]) -> BTreeMap<&str, bool> {
    let mut names = BTreeMap::new();
    for volume in volumes {
        if let Kind::Volume { name, .. } = &volume.kind {
            *names.entry(name.as_str()).or_default() |= may_fill(volume);
        }
    }
    names
}

fn may_fill(volume: &MountPoint) -> bool {
    matches!(volume.kind, Kind::Volume { copy: true, .. }) && volume.subpath.is_none()
}

fn point(
    mode: Isolation,
    volume: &MountPoint,
    known: &mut HashMap<&str, Known>,
) -> Result<Point, AttachError> {
    let mut bind = Bind {
        // The machine's agent is told another.
        source: BindSource::Path { path: Text::from("") },
        subpath: volume.subpath.as_ref().map(|path| path.as_os_str().into()),
        target: volume.target.as_str().into(),
        readonly: volume.readonly,
        recursive: volume.recursive,
        propagation: volume.propagation,
        copy_image: false,
    };
    let path = match &volume.kind {
        Kind::Bind { source, create } => {
            made(source, *create)?;
            source.as_path()
        }
        Kind::Volume { name, .. } => {
            let Some(known) = known.get_mut(name.as_str()) else {
                return Err(AttachError::Missing(name.into()));
            };
            let fills = known.fills && may_fill(volume);
            match &known.mounted {
                driver::Mounted::Folder(path) => {
                    // Of several mounts of a volume, the first that the image has something for: the agent copies into
                    // what is empty.
                    bind.copy_image = fills;
                    path.as_path()
                }
                driver::Mounted::Disk(_) => {
                    // A new one gets its name from whom it is filled by: one mount.
                    bind.copy_image = fills && std::mem::take(&mut known.fills);
                    return Ok(Point { bind, place: Place::Disk(name.clone()) });
                }
            }
        }
    };
    match mode {
        Isolation::Namespace => {
            bind.source = BindSource::Path { path: path.as_os_str().into() };
            Ok(Point { bind, place: Place::Told })
        }
        Isolation::Vm => {
            let fills = bind.readonly && bind.copy_image;
            let mount = opened(path, volume, bind.readonly && !fills)?;
            bind.subpath = None;
            Ok(Point { bind, place: Place::Tree { mount, fills } })
        }
    }
}

/// Sees to it that a bind's source is there.
fn made(source: &Path, create: bool) -> Result<(), AttachError> {
    match fs::metadata(source) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(source);
            made.map_err(|source_error| AttachError::Create { path: source.into(), source: source_error })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(AttachError::Missing(source.into())),
        // The agent, or whoever opens it, has more to say.
        Err(_) => Ok(()),
    }
}

/// A source as a mount of its own, which a machine may be shown.
fn opened(path: &Path, volume: &MountPoint, readonly: bool) -> Result<OwnedFd, AttachError> {
    machine::check_propagation(volume)?;
    let failed =
        |source| AttachError::Open { path: path.to_path_buf(), target: volume.target.clone(), source };
    let tree = match &volume.subpath {
        None => tree::copy(path, volume.recursive).map_err(failed)?,
        Some(subpath) => {
            let below = below(path, subpath)
                .map_err(|source| AttachError::Subpath { path: path.join(subpath), source })?;
            tree::copy_open(below.as_fd(), volume.recursive).map_err(failed)?
        }
    };
    let file = File::from(tree);
    let kind = file.metadata().map_err(failed)?.file_type();
    machine::check_kind(path, kind)?;
    let tree = OwnedFd::from(file);
    tree::confine(&tree, readonly, volume.recursive).map_err(failed)?;
    Ok(tree)
}

/// What lies below a volume's folder, into which containers write as they like.
fn below(folder: &Path, subpath: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY;
    let root = open(folder, flags, Mode::empty())?;
    Ok(beneath::open(root, subpath.as_os_str().as_bytes())?)
}

/// Where a machine has what is to be mounted.
pub trait Machine {
    /// Shares a mount, and returns its name in the guest.
    fn share(&self, tree: BorrowedFd<'_>) -> Result<String, ShareError>;
    /// Takes all writing from what it was shown under a name, whatever its guest knows of it by now. Fails as long as the
    /// guest has a file of it open for writing.
    fn seal(&self, name: &str) -> Result<(), ShareError>;
    /// The disk that it has for a volume.
    fn disk(&self, volume: &str) -> Option<Disk>;
}

/// What the agent is to mount, and what has to be taken back and finished.
#[derive(Default)]
pub struct Attached {
    pub mounts: Vec<Mount>,
    /// Names of what was shared for it.
    pub shares: Vec<String>,
    /// Those that the machine may only read once it has filled them. No command of the container's runs before.
    pub unsealed: Unsealed,
    pub filling: Filling,
}

/// Shares that are writable until they are filled.
#[derive(Default)]
pub struct Unsealed(Vec<Writable>);

struct Writable {
    share: String,
    target: String,
}

impl Unsealed {
    /// Those that it failed for stay in it.
    pub fn seal(&mut self, machine: &impl Machine) -> Result<(), AttachError> {
        while let Some(Writable { share, target }) = self.0.last() {
            machine.seal(share).map_err(|source| AttachError::Seal { target: target.clone(), source })?;
            self.0.pop();
        }
        Ok(())
    }
}

/// Volumes that the agent fills from the image while it makes the container. Dropped: it did not.
#[derive(Default)]
pub struct Filling(Vec<Population>);

impl Filling {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn finish(self) -> Result<(), VolumeError> {
        self.0.into_iter().try_for_each(Population::finish)
    }
}

impl Prepared {
    /// Into the sandbox, which is up. `attached` has what was shared also where this fails.
    pub fn told(self, machine: &impl Machine, attached: &mut Attached) -> Result<(), AttachError> {
        for Point { mut bind, place } in self.points {
            bind.source = match place {
                Place::Told => bind.source,
                Place::Tree { mount, fills } => {
                    let target = || String::from_utf8_lossy(bind.target.as_bytes()).into_owned();
                    let failed = |source| AttachError::Share { target: target(), source };
                    let name = machine.share(mount.as_fd()).map_err(failed)?;
                    attached.shares.push(name.clone());
                    if fills {
                        attached.unsealed.0.push(Writable { share: name.clone(), target: target() });
                    }
                    BindSource::Share { name }
                }
                Place::Disk(volume) => {
                    let disk = machine.disk(&volume).ok_or(AttachError::NoDisk(volume))?;
                    BindSource::Disk { disk }
                }
            };
            attached.mounts.push(Mount::Bind(bind));
        }
        attached.filling = Filling(self.populations);
        Ok(())
    }
}

/// Outer ones first, so that none hides another; of one place, the later covers the earlier.
pub fn in_order(mut mounts: Vec<Mount>) -> Vec<Mount> {
    mounts.sort_by_key(|mount| {
        let (Mount::Bind(Bind { target, .. }) | Mount::Tmpfs { target, .. }) = mount;
        target.as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty()).count()
    });
    mounts
}

#[cfg(test)]
#[path = "attach_tests.rs"]
mod tests;
