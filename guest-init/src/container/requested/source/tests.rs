//! A guest's disk, with a loop device in place of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use rustix::fs::{FileType, mknodat};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::*;
use crate::container::mount_attr;
use crate::protocol::Disk;

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// This thread's machine has that device as /dev/vdz.
fn show_as_vdz(device: &str, sectors: u64) {
    let number = fs::metadata(device).unwrap().rdev();
    // SAFETY: NEWNS touches neither descriptors nor memory.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    for folder in ["/dev", "/sys/block"] {
        mount(c"none", folder, c"tmpfs", MountFlags::empty(), c"").unwrap();
    }
    mknodat(CWD, "/dev/vdz", FileType::BlockDevice, Mode::RUSR | Mode::WUSR, number).unwrap();
    fs::create_dir("/sys/block/vdz").unwrap();
    fs::write("/sys/block/vdz/size", format!("{sectors}\n")).unwrap();
}

fn bind_of_disk(sectors: u64) -> ValidMount {
    ValidMount::Bind(Bind {
        source: BindSource::Disk { disk: Disk { index: 25, sectors } },
        subpath: None,
        target: "/data".into(),
        readonly: false,
        recursive: true,
        propagation: Propagation::Private,
        copy_image: true,
    })
}

fn take(sources: &mut Sources<'_>, mount: &ValidMount) -> Source {
    let ValidMount::Bind(bind) = mount else { unreachable!() };
    sources.take(bind).unwrap()
}

#[test]
fn disk_is_taken_once_and_again_behind_what_is_mounted_aside() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("disk");
    fs::File::create(&file).unwrap().set_len(8 << 20).unwrap();
    let file = file.to_str().unwrap();
    let device =
        output("mkfs.ext4", &["-q", file]).and_then(|_| output("losetup", &["--find", "--show", file]));
    let Some(device) = device else {
        eprintln!("skipped: needs root, loop devices and mkfs.ext4");
        return;
    };
    let sectors = (8 << 20) / 512;
    let shown = device.clone();
    let tested = std::thread::spawn(move || {
        show_as_vdz(&shown, sectors);
        let mounts = [bind_of_disk(sectors)];
        let mut sources = Sources::wait_for(&mounts, None).unwrap();
        let Source { mount, fill } = take(&mut sources, &mounts[0]);
        assert_eq!(rustix::fs::fstat(&mount).unwrap().st_mode & 0o7777, 0o755);
        mount_attr::set_propagation(&mount, libc::MS_PRIVATE).unwrap();
        rustix::fs::mkdirat(&mount, "made", Mode::RWXU).unwrap();
        let Fill::Disk(first_use) = fill else { panic!() };
        first_use.finish().unwrap();
        // As by another container of the machine: the same file system once more.
        let again = take(&mut sources, &mounts[0]);
        assert!(matches!(again.fill, Fill::No));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        assert!(rustix::fs::openat(&again.mount, "made", flags, Mode::empty()).is_ok());
        let device = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_dev;
        assert_eq!(device(&mount), device(&again.mount));
    });
    let tested = tested.join();
    output("losetup", &["--detach", &device]);
    tested.unwrap();
}
