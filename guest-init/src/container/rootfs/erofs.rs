//! The read-only lower of a container's root: one EROFS mount.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::fsapi::{FsContext, MAX_VALUE};
use super::loopdev;
use crate::error::{Step, StepError, shown, words};
use crate::protocol::Text;

/// Mounts the block device at `path`.
pub fn mount_device(path: &str) -> Result<OwnedFd, StepError> {
    FsContext::open("erofs")?.flag("ro")?.set("source", path.as_bytes())?.mount(MountAttrFlags::empty())
}

/// Mounts merged metadata over its layers, straight from the files or, where the kernel is older than
/// 6.12 and cannot, through loop devices.
pub fn mount_files(metadata: &Text, layers: &[Text]) -> Result<OwnedFd, StepError> {
    let metadata = Source::open(metadata)?;
    let layers = layers.iter().map(Source::open).collect::<Result<Vec<_>, _>>()?;
    let context = configure(&metadata, &layers)?;
    match context.try_create()? {
        Ok(()) => context.into_mount(MountAttrFlags::empty()),
        Err(Errno::NOTBLK) => mount_through_loops(&metadata, &layers),
        Err(cause) => {
            Err(StepError::setup(format!("Failed to mount the image {}: {}", metadata.name(), words(cause))))
        }
    }
}

/// Loop devices detach themselves at the last unmount; until the mount exists the descriptors hold them.
pub fn mount_through_loops(metadata: &Source, layers: &[Source]) -> Result<OwnedFd, StepError> {
    let metadata = loopdev::attach(&metadata.value)?;
    let layers = layers.iter().map(|layer| loopdev::attach(&layer.value)).collect::<Result<Vec<_>, _>>()?;
    let mut context = FsContext::open("erofs")?.flag("ro")?.set("source", metadata.path.as_bytes())?;
    for layer in &layers {
        context = context.set("device", layer.path.as_bytes())?;
    }
    context.mount(MountAttrFlags::empty())
}

fn configure(metadata: &Source, layers: &[Source]) -> Result<FsContext, StepError> {
    let mut context = FsContext::open("erofs")?.flag("ro")?.set("source", &metadata.value)?;
    for layer in layers {
        context = context.set("device", &layer.value)?;
    }
    Ok(context)
}

/// A file as fsconfig(2) takes it: its path or, where that is too long, its descriptor's.
pub struct Source {
    value: Vec<u8>,
    _held: Option<OwnedFd>,
}

impl Source {
    pub fn open(path: &Text) -> Result<Self, StepError> {
        if path.as_bytes().len() < MAX_VALUE {
            return Ok(Source { value: path.as_bytes().to_vec(), _held: None });
        }
        let held = rustix::fs::open(path.as_bytes(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .step(format_args!("open {}", shown(path.as_bytes())))?;
        Ok(Source { value: format!("/proc/self/fd/{}", held.as_raw_fd()).into_bytes(), _held: Some(held) })
    }

    fn name(&self) -> String {
        self.value.escape_ascii().to_string()
    }
}
