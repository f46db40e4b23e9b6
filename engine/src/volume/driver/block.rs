//! Block volumes: a file with an ext4 of its own, for one sandbox at a time.
//!
//! A virtual machine gets the file as a disk. On a host it is mounted through a loop device, but only as long as no
//! machine has written to it: from then on its file system is what a hostile guest made of it, which no kernel that is
//! to be trusted should mount.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hull_guest::protocol::DISK_FOLDER;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::loopdev::{self, LoopError};
use super::mounts;
use crate::rootless::in_user_namespace;
use crate::sandbox::disk;
use crate::store::Store;
use crate::store::files::within;
use crate::volume::folder::{Folder, open_folder};
use crate::volume::patience::{Patience, wait};
use crate::volume::{VolumeError, VolumeRow};

#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    #[error("Failed to {what} the disk {}", .path.display())]
    Disk { what: &'static str, path: PathBuf, source: io::Error },
    #[error("The disk {} is in use: one virtual machine at a time can have it", .0.display())]
    InUse(PathBuf),
    #[error(
        "Volume {0} is a disk of its own (kind=block) that a virtual machine has written to, and a host does not mount \
         what a machine may have forged: run the container with --isolation vm, or copy the data into a plain volume in \
         one that does"
    )]
    WrittenByMachine(String),
    #[error(
        "Volume {0} is a disk of its own (kind=block), which needs root where there is no virtual machine: use a plain \
         volume"
    )]
    NeedsRoot(String),
    #[error("Failed to mount the disk of volume {0}")]
    Loop(String, #[source] LoopError),
    #[error("Failed to mount the disk of volume {0}")]
    Mount(String, #[source] Errno),
}

/// Makes the file, unless it is there.
pub fn create(path: &Path, bytes: u64) -> Result<(), BlockError> {
    match disk::create(path, bytes) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome.map(drop).map_err(|source| failed("make", path, source)),
    }
}

/// The file of a volume.
pub fn path(store: &Store, name: &str) -> PathBuf {
    Folder::of(store, name).disk()
}

/// What containers see of one that is mounted on the host.
pub(super) fn shown(folder: &Folder) -> PathBuf {
    folder.mounted_disk().join(DISK_FOLDER)
}

/// Opens it for a virtual machine, locked (flock(2)) for as long as the file or a copy of it is open. Waits a moment: a
/// loop device lets go of it some time after its last sandbox.
pub fn open(path: &Path) -> Result<File, BlockError> {
    const LIMIT: Duration = Duration::from_secs(5);
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path);
    let file = opened.map_err(|source| failed("open", path, source))?;
    let locked = within(LIMIT, || loopdev::lock(&file).map(|locked| locked.then_some(())));
    match locked.map_err(|errno| failed("lock", path, errno.into()))? {
        Some(()) => Ok(file),
        None => Err(BlockError::InUse(path.to_owned())),
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> BlockError {
    BlockError::Disk { what, path: path.to_owned(), source }
}

/// Whether a host may mount it.
pub fn check_host(row: &VolumeRow) -> Result<(), BlockError> {
    if in_user_namespace() {
        return Err(BlockError::NeedsRoot(row.name.clone()));
    }
    if row.settings.written_by_machine {
        return Err(BlockError::WrittenByMachine(row.name.clone()));
    }
    Ok(())
}

/// Mounts it on the host, where it may be mounted already. What containers see of it.
pub fn mount_on_host(
    row: &VolumeRow,
    folder: &Folder,
    patience: Patience<'_>,
) -> Result<PathBuf, VolumeError> {
    check_host(row)?;
    let place = folder.mounted_disk();
    open_folder(&place)?;
    if !mounts::is_mounted(&place)? {
        let attach =
            || loopdev::attach(&folder.disk()).map_err(|error| BlockError::Loop(row.name.clone(), error));
        let device = wait(&row.name, patience, attach)?;
        let (options, kind): (Option<&str>, _) = (None, Some("ext4"));
        // A device node in a volume is of no use to a container.
        let flags = MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
        mount(Some(&device.path), &place, kind, flags, options)
            .map_err(|errno| BlockError::Mount(row.name.clone(), errno))?;
    }
    let shown = shown(folder);
    open_folder(&shown)?;
    Ok(shown)
}
