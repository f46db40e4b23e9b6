//! tmpfs(5) at a place of the container's choice.

use rustix::io::Errno;

use crate::container::rootfs::fsapi::{FsContext, attach};
use crate::container::spec::Tmpfs;
use crate::container::{paths, targets};
use crate::error::{StepError, shown};

pub fn mount(tmpfs: &Tmpfs) -> Result<(), StepError> {
    let path = tmpfs.target.as_bytes();
    let target = match paths::open_or_make_folder(path) {
        Err(error) if error.cause() == Some(Errno::NOTDIR) => return Err(super::mismatch("tmpfs", path)),
        other => other?,
    };
    targets::check(&target, false)?;
    let mut context = FsContext::open("tmpfs")?.set("mode", format!("{:o}", tmpfs.mode).as_bytes())?;
    if let Some(size) = tmpfs.size {
        context = context.set("size", size.to_string().as_bytes())?;
    }
    for (key, value) in &tmpfs.settings {
        context = context.set(key, value.to_string().as_bytes())?;
    }
    attach(context.mount(tmpfs.attributes)?, target, &shown(path).to_string())
}
