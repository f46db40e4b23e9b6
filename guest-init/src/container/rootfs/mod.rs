//! The container's root file system: an overlay of one writable folder over one EROFS, or over a folder of
//! the image's files, entered with pivot_root(2).

mod disks;
mod erofs;
pub mod fsapi;
mod loopdev;
mod overlay;
pub mod view;

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountAttrFlags, UnmountFlags, unmount};

use self::overlay::Writable;
use crate::error::{Step, StepError, shown};
use crate::protocol::{Disk, RootSource, Text};

/// Mounts that may lie on the new root when it is entered: the old root, and what was on that.
const MAX_STACKED: usize = 16;

/// Mounts the root, detached.
pub fn mount(source: &RootSource) -> Result<OwnedFd, StepError> {
    let (lower, writable) = match source {
        RootSource::Disks { lower, upper } => {
            let (lower, upper) = (disks::wait_for(*lower)?, disks::wait_for(*upper)?);
            let lower = erofs::mount_device(&lower)?;
            fsapi::attach_aside(&lower, "the image")?;
            (lower, writable_disk(&upper)?)
        }
        RootSource::Files { metadata, layers, upper, work } => {
            let lower = erofs::mount_files(metadata, layers)?;
            fsapi::attach_aside(&lower, "the image")?;
            (lower, Writable { upper: open_folder(upper)?, work: open_folder(work)? })
        }
        RootSource::Folder { lower, upper, work } => {
            (open_folder(lower)?, Writable { upper: open_folder(upper)?, work: open_folder(work)? })
        }
    };
    overlay::mount(&lower, &writable)
}

/// Makes `root` the root of this mount namespace and lets go of everything else in it.
pub fn enter(root: &OwnedFd) -> Result<(), StepError> {
    fsapi::attach_aside(root, "the container's root")?;
    rustix::process::fchdir(root).step("enter the container's root")?;
    // Both in one place: the old root comes to lie on the new one (pivot_root(2)).
    rustix::process::pivot_root(".", ".").step("make the container's root the root")?;
    take_off_old_root(root)?;
    rustix::process::chdir("/").step("enter the new root")
}

/// Whatever lies on the new root is what `..` at "/" leads to, so that is what is looked at, and nobody
/// goes on before it leads nowhere.
fn take_off_old_root(root: &OwnedFd) -> Result<(), StepError> {
    let wanted = rustix::fs::fstat(root).step("look at the new root")?;
    for _ in 0..MAX_STACKED {
        let above = rustix::fs::stat("/..").step("look above the new root")?;
        if (above.st_dev, above.st_ino) == (wanted.st_dev, wanted.st_ino) {
            return Ok(());
        }
        unmount(".", UnmountFlags::DETACH).step("let go of the old root")?;
    }
    Err(StepError::setup("Failed to let go of the old root: too much is mounted on it"))
}

fn writable_disk(path: &str) -> Result<Writable, StepError> {
    let disk = mount_ext4(path, MountAttrFlags::empty())?;
    Ok(Writable {
        upper: overlay::open_or_make(&disk, "upper")?,
        work: overlay::open_or_make(&disk, "work")?,
    })
}

/// Waits until a disk has the size named. Before anything is mounted aside, which hides where that is told.
pub fn wait_for_disk(disk: Disk) -> Result<(), StepError> {
    disks::wait_for(disk).map(drop)
}

/// Mounts a disk that has been waited for aside. Of one that is mounted already this is one more mount.
pub fn mount_disk(disk: Disk, attributes: MountAttrFlags) -> Result<OwnedFd, StepError> {
    mount_ext4(&disks::path(disk)?, attributes)
}

fn mount_ext4(path: &str, attributes: MountAttrFlags) -> Result<OwnedFd, StepError> {
    let disk = fsapi::FsContext::open("ext4")?
        .set("source", path.as_bytes())?
        // Space that files give up goes back to the host.
        .flag("discard")?
        .mount(attributes)?;
    fsapi::attach_aside(&disk, "a writable disk")?;
    Ok(disk)
}

fn open_folder(path: &Text) -> Result<OwnedFd, StepError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path.as_bytes(), flags, Mode::empty())
        .step(format_args!("open the folder {}", shown(path.as_bytes())))
}
