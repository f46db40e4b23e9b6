//! Files that the host lays over the image's.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use super::paths;
use super::rootfs::fsapi::{self, FsContext};
use crate::error::{Step, StepError, shown};
use crate::protocol::{OverlaidFile, Text};

/// What the container may let its overlaid files grow by: they are writable, and not on its disk.
const GROWTH: usize = 1 << 20;

/// A file ready to be bound to its place.
pub struct Prepared<'a> {
    target: &'a Text,
    mount: OwnedFd,
}

/// Writes the files to a private tmpfs. Before the root is entered: the tmpfs itself stays behind.
pub fn prepare(files: &[OverlaidFile]) -> Result<Vec<Prepared<'_>>, StepError> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let size = files.iter().map(|file| file.content.as_bytes().len().next_multiple_of(4096)).sum::<usize>();
    let tmpfs = FsContext::open("tmpfs")?
        .set("size", (size + GROWTH).to_string().as_bytes())?
        .set("mode", b"755")?
        .mount(MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)?;
    fsapi::attach_aside(&tmpfs, "the overlaid files")?;
    files.iter().enumerate().map(|(number, file)| prepare_one(&tmpfs, &number.to_string(), file)).collect()
}

fn prepare_one<'a>(tmpfs: &OwnedFd, name: &str, file: &'a OverlaidFile) -> Result<Prepared<'a>, StepError> {
    let target = &file.target;
    let what = || format!("prepare the overlaid file {}", shown(target.as_bytes()));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let made = rustix::fs::openat(tmpfs, name, flags, Mode::from_raw_mode(file.mode)).step(what())?;
    let mut rest = file.content.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(&made, rest).step(what())?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(Prepared { target, mount: open_tree(tmpfs, name, clone).step(what())? })
}

/// Binds the prepared files to their places inside the root.
pub fn bind(files: Vec<Prepared<'_>>) -> Result<(), StepError> {
    for file in files {
        let path = file.target.as_bytes();
        let target = paths::open_or_make_file(path)?;
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

/// Opens the container's own /dev/null, for a standard input that nobody feeds.
pub fn open_null() -> Result<OwnedFd, StepError> {
    rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).step("open /dev/null")
}
