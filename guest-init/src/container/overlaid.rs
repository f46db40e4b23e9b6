//! Files that the host lays over the image's.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use super::paths::{self, Kind};
use super::rootfs::fsapi::{self, FsContext};
use super::{mount_attr, targets, user};
use crate::error::{Step, StepError, shown};
use crate::protocol::{OverlaidFile, Text};

/// What the container may let its overlaid files grow by: they are writable, and not on its disk.
const GROWTH: usize = 1 << 20;
const PAGE: usize = 4096;

const SEALED: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A file ready to be bound to its place.
pub struct Prepared<'a> {
    target: &'a Text,
    mount: OwnedFd,
}

/// Writes the files to a private tmpfs, the read-only ones to another. Before the root is entered: the file systems
/// themselves stay behind.
pub fn prepare(files: &[OverlaidFile]) -> Result<Vec<Prepared<'_>>, StepError> {
    let (mut writable, mut readonly) = (None, None);
    let prepared = files.iter().enumerate().map(|(number, file)| {
        let tmpfs = if file.readonly { &mut readonly } else { &mut writable };
        let tmpfs = match tmpfs {
            Some(made) => made,
            None => tmpfs.insert(make_tmpfs(files, file.readonly)?),
        };
        prepare_one(tmpfs, &number.to_string(), file)
    });
    prepared.collect()
}

/// One with room for those files that are read-only, or those that are not.
fn make_tmpfs(files: &[OverlaidFile], readonly: bool) -> Result<OwnedFd, StepError> {
    let content = files.iter().filter(|file| file.readonly == readonly).map(|file| file.content.as_bytes());
    let size = content.map(|content| content.len().next_multiple_of(PAGE)).sum::<usize>();
    let size = if readonly { size.max(PAGE) } else { size + GROWTH };
    let tmpfs = FsContext::open("tmpfs")?.set("size", size.to_string().as_bytes())?.set("mode", b"755")?;
    // Secrets must not come to lie on a disk, as far as the kernel promises that (6.4, and not to a user namespace).
    let tmpfs = if readonly { tmpfs.flag_if_known("noswap") } else { tmpfs };
    let tmpfs = tmpfs.mount(MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)?;
    fsapi::attach_aside(&tmpfs, "the overlaid files")?;
    Ok(tmpfs)
}

fn prepare_one<'a>(tmpfs: &OwnedFd, name: &str, file: &'a OverlaidFile) -> Result<Prepared<'a>, StepError> {
    let what = || format!("prepare the overlaid file {}", shown(file.target.as_bytes()));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let made = rustix::fs::openat(tmpfs, name, flags, Mode::RUSR).step(what())?;
    let mut rest = file.content.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(&made, rest).step(what())?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let (uid, gid) = (file.uid, file.gid);
    rustix::fs::fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(|cause| user::refused((uid, gid), cause, "give an overlaid file to"))?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(file.mode)).step(what())?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(tmpfs, name, clone).step(what())?;
    if file.readonly {
        mount_attr::add_to(&mount, SEALED).step(what())?;
    }
    Ok(Prepared { target: &file.target, mount })
}

/// Binds the prepared files to their places inside the root.
pub fn bind(files: Vec<Prepared<'_>>) -> Result<(), StepError> {
    for file in files {
        let path = file.target.as_bytes();
        let target = paths::open_or_make(path, Kind::File)?;
        targets::check(&target, false)?;
        let stat = rustix::fs::fstat(&target).step(format_args!("look at {}", shown(path)))?;
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            let why = format!("Failed to mount a file at {}: it is a folder in the container", shown(path));
            return Err(StepError::setup(why));
        }
        fsapi::attach(file.mount, target.as_fd(), &shown(path).to_string())?;
    }
    Ok(())
}

/// Makes the working directory if need be and goes there.
pub fn enter_working_directory(cwd: &Text) -> Result<(), StepError> {
    let path = cwd.as_bytes();
    let folder = paths::open_or_make_folder(path)?;
    rustix::process::fchdir(folder).step(format_args!("enter the working directory {}", shown(path)))
}
