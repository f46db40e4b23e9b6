//! The read-only lower of a container's root: one EROFS mount.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

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
    let mut context =
        FsContext::open("erofs")?.flag("ro")?.set("source", metadata.path.as_os_str().as_bytes())?;
    for layer in &layers {
        context = context.set("device", layer.path.as_os_str().as_bytes())?;
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Kernels before 6.12 take this way; newer ones must still be able to.
    #[test]
    fn image_mounts_through_loop_devices_which_go_with_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let (tree, image) = (folder.path().join("tree"), folder.path().join("image"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("file"), "content").unwrap();
        let made = Command::new("mkfs.erofs").arg(&image).arg(&tree).output();
        let made = made.is_ok_and(|output| output.status.success());
        if !made
            || !rustix::process::geteuid().is_root()
            || !std::path::Path::new("/dev/loop-control").exists()
        {
            eprintln!("skipped: needs root, loop devices and mkfs.erofs");
            return;
        }
        let source = Source::open(&Text::from(image.as_os_str())).unwrap();
        let mount = mount_through_loops(&source, &[]).unwrap();
        let file = rustix::fs::openat(&mount, "file", OFlags::RDONLY, Mode::empty()).unwrap();
        let mut content = [0; 16];
        assert_eq!(rustix::io::read(&file, &mut content).unwrap(), 7);
        drop((file, mount));
        // The kernel lets go of it with its last user, and a test beside this one that forks may be one.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while backs_a_loop_device(&image) {
            assert!(std::time::Instant::now() < end, "the loop device stays");
            std::thread::yield_now();
        }
    }

    fn backs_a_loop_device(image: &std::path::Path) -> bool {
        let shown = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let mut devices = std::fs::read_dir("/sys/block").unwrap().flatten();
        devices.any(|device| shown(device.path().join("loop/backing_file")).trim() == image.to_str().unwrap())
    }

    #[test]
    fn path_too_long_for_an_option_is_named_by_its_descriptor() {
        let folder = tempfile::TempDir::new().unwrap();
        let long = folder.path().join("x".repeat(200)).join("y".repeat(200));
        std::fs::create_dir_all(&long).unwrap();
        let path = long.join("image");
        std::fs::write(&path, "").unwrap();
        let source = Source::open(&Text::from(path.as_os_str())).unwrap();
        assert!(source.value.starts_with(b"/proc/self/fd/"));
        assert!(Source::open(&"/nowhere".into()).is_ok_and(|source| source.value == b"/nowhere"));
    }
}
