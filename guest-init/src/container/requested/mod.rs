//! The mounts that a container asks for beyond those that every one has: tmpfs file systems, and binds of folders and
//! files from outside. Binds are taken as detached mounts before the root is entered, and attached inside it after.

mod bind;
mod copy;
mod disk;
mod propagation;
mod source;
mod tmpfs;

pub use self::source::{Sources, mount_shared};

use self::bind::Taken;
use super::spec::{Tmpfs, ValidMount};
use super::targets;
use crate::error::{StepError, shown};
use crate::protocol::BindSource;

/// A mount that can be put in its place.
pub enum Ready<'a> {
    Tmpfs(&'a Tmpfs),
    Bind(Taken<'a>),
}

/// Whether any of it is what the host shares.
pub fn wants_shares(mounts: &[ValidMount]) -> bool {
    let shared = |mount: &ValidMount| match mount {
        ValidMount::Bind(bind) => matches!(bind.source, BindSource::Share { .. }),
        ValidMount::Tmpfs(_) => false,
    };
    mounts.iter().any(shared)
}

/// Takes the sources of the binds. In all the container's namespaces, before its root is entered.
pub fn prepare<'a>(mounts: &'a [ValidMount], mut sources: Sources<'_>) -> Result<Vec<Ready<'a>>, StepError> {
    let ready = mounts.iter().map(|mount| match mount {
        ValidMount::Tmpfs(tmpfs) => Ok(Ready::Tmpfs(tmpfs)),
        ValidMount::Bind(bind) => Taken::take(bind, &mut sources).map(Ready::Bind),
    });
    ready.collect()
}

/// Copies what the image has into the binds that ask for it. In the container's root.
pub fn copy_image(ready: &mut [Ready<'_>]) -> Result<(), StepError> {
    ready.iter_mut().try_for_each(|mount| match mount {
        Ready::Bind(bind) => bind.copy_image(),
        Ready::Tmpfs(_) => Ok(()),
    })
}

/// Takes out of the list what goes in place of the container's own /dev.
pub fn instead_of_dev<'a>(ready: &mut Vec<Ready<'a>>) -> Option<Ready<'a>> {
    let is_dev = |mount: &Ready<'_>| targets::clean(mount.target()) == b"/dev";
    ready.iter().position(is_dev).map(|at| ready.remove(at))
}

/// Docker's words.
fn mismatch(source: &str, target: &[u8]) -> StepError {
    StepError::setup(format!(
        "error mounting \"{source}\" to rootfs at \"{}\": not a directory: Are you trying to mount a directory \
         onto a file (or vice-versa)? Check if the specified host path exists and is the expected type",
        shown(target)
    ))
}

impl Ready<'_> {
    /// Mounts it at its place in the container's root.
    pub fn mount(self) -> Result<(), StepError> {
        match self {
            Ready::Tmpfs(tmpfs) => tmpfs::mount(tmpfs),
            Ready::Bind(bind) => bind.attach(),
        }
    }

    fn target(&self) -> &[u8] {
        match self {
            Ready::Tmpfs(tmpfs) => tmpfs.target.as_bytes(),
            Ready::Bind(bind) => bind.target(),
        }
    }
}
