//! A new container's folder and rows, and its sandbox's.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use super::{CreateError, New, secrets};
use crate::container::names;
use crate::rootless::ids::IdMap;
use crate::rootless::in_user_namespace;
use crate::sandbox::mode::Isolation;
use crate::sandbox::probe::boot_id;
use crate::store::{self, ContainerRow, NewSandbox, Store, With};
use crate::time::now_ns;

/// Users that VMMs run as: a range of 65,536 above what distributions and useradd hand out. A user namespace
/// has its own.
pub const VMM_UIDS: (u32, u32) = (0x6875_0000, 1 << 16);
/// Tries at a name nobody has; each doubles as a bound on a store full of names.
pub const NAME_ATTEMPTS: usize = 64;
/// Tries at volumes that nobody removes under one's hands.
const VOLUME_ATTEMPTS: usize = 5;

/// Adds the container: its folder, then its row, and with it its sandbox's where it is about to start. The
/// name it got, and the user its VMM becomes.
pub fn add(store: &Store, new: &mut New, starting: bool) -> Result<(ContainerRow, Option<u32>), CreateError> {
    let folder = store.paths().container(&new.id);
    let kept = store.paths().run_secrets(&new.id);
    DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .map_err(|source| CreateError::Folder { path: folder.clone(), source })?;
    let added = secrets::keep(&new.config.secrets, &kept)
        .map_err(CreateError::from)
        .and_then(|()| add_with_volumes(store, new, starting));
    if added.is_err() {
        let _ = crate::sandbox::remove::tree(&folder);
        let _ = crate::sandbox::remove::tree(&kept);
    }
    added
}

/// Until it has its row, anybody may remove a volume that was there.
fn add_with_volumes(
    store: &Store,
    new: &mut New,
    starting: bool,
) -> Result<(ContainerRow, Option<u32>), CreateError> {
    let mut attempt = 0;
    loop {
        let made = new.volumes.make(store, new.config.remove.then_some(&new.id))?;
        new.config.volumes.clone_from(&made.points);
        match add_rows(store, new, &made.volumes(), starting) {
            Err(store::Error::NotFound { what: "volume", .. }) if attempt < VOLUME_ATTEMPTS => {
                attempt += 1;
                made.undo(store);
            }
            Err(error) => {
                made.undo(store);
                return Err(error.into());
            }
            Ok(added) => return Ok(added),
        }
    }
}

fn add_rows(
    store: &Store,
    new: &New,
    volumes: &[&str],
    starting: bool,
) -> Result<(ContainerRow, Option<u32>), store::Error> {
    let mut row = ContainerRow::new(&new.id, "", new.image.id, new.mode, new.config.to_row());
    row.pod = new.pod.as_ref().map(|pod| pod.id.clone());
    // By the same time a sweep knows that the one was made for the other.
    let sandbox = starting.then(|| NewSandbox { created: row.created, ..new_sandbox(&new.id, new.mode) });
    row.sandbox = sandbox.as_ref().map(|sandbox| sandbox.id.clone());
    let with = With { endpoints: &new.endpoints, volumes };
    let mut attempt = 0;
    loop {
        row.name = match &new.name {
            Some(name) => name.clone(),
            None => names::generate(&row.id, attempt),
        };
        let added = match &sandbox {
            Some(sandbox) => store
                .db()
                .add_sandbox_with_container(sandbox, uids(new.mode), &row, with)
                .map(|sandbox| sandbox.uid),
            None => store.db().add_container_with(&row, with).map(|()| None),
        };
        match added {
            Err(store::Error::NameTaken(_)) if new.name.is_none() && attempt < NAME_ATTEMPTS => attempt += 1,
            other => return Ok((row, other?)),
        }
    }
}

pub fn new_sandbox(id: &str, mode: Isolation) -> NewSandbox {
    NewSandbox { id: id.to_string(), boot_id: boot_id(), mode, created: now_ns() }
}

/// What a sandbox's VMM may become.
pub fn uids(mode: Isolation) -> Option<(u32, u32)> {
    let range = || match in_user_namespace() {
        // Where there are none to spare, the machine's own user namespace has that id.
        true => IdMap::of_users().for_machines().unwrap_or(VMM_UIDS),
        false => VMM_UIDS,
    };
    (mode == Isolation::Vm).then(range)
}

/// Held while a folder has no row yet, so that nobody takes it for an orphan.
#[derive(Debug)]
pub struct Creating {
    _held: Flock<File>,
}

impl Creating {
    pub fn begin(store: &Store) -> Result<Creating, CreateError> {
        let path = store.paths().sandboxes();
        let failed = |source| CreateError::Folder { path: path.clone(), source };
        let folder = File::open(&path).map_err(failed)?;
        match Flock::lock(folder, FlockArg::LockShared) {
            Ok(held) => Ok(Creating { _held: held }),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// The right to remove folders without rows, if nobody is making one at the moment.
    pub fn nobody_is(sandboxes: &Path) -> Option<Creating> {
        let folder = File::open(sandboxes).ok()?;
        Flock::lock(folder, FlockArg::LockExclusiveNonblock).ok().map(|held| Creating { _held: held })
    }
}
