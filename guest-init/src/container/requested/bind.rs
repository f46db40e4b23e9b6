//! One bind, from its source to its place.

use std::os::fd::OwnedFd;

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::source::{self, Fill, Source, Sources};
use super::{copy, propagation};
use crate::container::paths::{self, Kind};
use crate::container::rootfs::fsapi::attach;
use crate::container::{mount_attr, targets};
use crate::error::{Step, StepError, shown};
use crate::protocol::Bind;

/// PROC_SUPER_MAGIC of linux/magic.h.
const PROC_MAGIC: u64 = 0x9fa0;

/// A source, detached from where it was.
pub struct Taken<'a> {
    bind: &'a Bind,
    mount: OwnedFd,
    kind: Kind,
    fill: Fill,
}

impl<'a> Taken<'a> {
    pub fn take(bind: &'a Bind, sources: &mut Sources<'_>) -> Result<Self, StepError> {
        let Source { mount, fill } = sources.take(bind)?;
        propagation::set(&mount, bind)?;
        let kind = if is_folder(&mount)? { Kind::Folder } else { Kind::File };
        Ok(Taken { bind, mount, kind, fill })
    }

    pub fn target(&self) -> &'a [u8] {
        self.bind.target.as_bytes()
    }

    /// Before it is read-only, and before anything is mounted that the image's own files would be behind.
    pub fn copy_image(&mut self) -> Result<(), StepError> {
        if self.kind == Kind::File {
            return Ok(());
        }
        match std::mem::replace(&mut self.fill, Fill::No) {
            Fill::No => Ok(()),
            Fill::Folder => {
                copy::from_image(self.target(), &self.mount)?;
                self.settle()
            }
            Fill::Disk(first_use) => {
                copy::from_image(self.target(), &self.mount)?;
                first_use.finish()
            }
        }
    }

    /// Waits until nothing is open for writing any more that the copy has closed, which a host that now makes its share
    /// read-only has to be sure of. A guest's kernel may leave it to the background to tell the file server of it
    /// (FUSE_RELEASE); what it asks next goes into the same queue, which is answered in its order, and statfs(2) is asked
    /// each time.
    fn settle(&self) -> Result<(), StepError> {
        rustix::fs::fstatfs(&self.mount)
            .map(drop)
            .step(format_args!("wait for what was copied to {}", shown(self.target())))
    }

    pub fn attach(self) -> Result<(), StepError> {
        let path = self.target();
        let target = match paths::open_or_make(path, self.kind) {
            Err(error) if error.cause() == Some(Errno::NOTDIR) => return Err(self.mismatch()),
            other => other?,
        };
        targets::check(&target, self.is_proc()?)?;
        if is_folder(&target)? != (self.kind == Kind::Folder) {
            return Err(self.mismatch());
        }
        if self.bind.readonly {
            mount_attr::add_to_all(&self.mount, MountAttrFlags::MOUNT_ATTR_RDONLY)
                .step(format_args!("make the mount of {} read-only", shown(path)))?;
        }
        attach(self.mount, target, &shown(path).to_string())
    }

    fn mismatch(&self) -> StepError {
        super::mismatch(&source::name(self.bind), self.target())
    }

    fn is_proc(&self) -> Result<bool, StepError> {
        let kind = rustix::fs::fstatfs(&self.mount).step("look at what is to be mounted")?.f_type;
        Ok(u64::try_from(kind).ok() == Some(PROC_MAGIC))
    }
}

fn is_folder(fd: &OwnedFd) -> Result<bool, StepError> {
    let stat = rustix::fs::fstat(fd).step("look at one side of a bind")?;
    Ok(FileType::from_raw_mode(stat.st_mode).is_dir())
}
