//! The guest's disks: waiting until a slot holds what the host named, and its device path.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, netlink, recv, socket_with};

use crate::error::{Step, StepError};
use crate::protocol::{Disk, ErrorKind};

/// Kernel's uevents, not udev's.
const KERNEL_GROUP: u32 = 1;

/// The device path of `disk`, once it has the size named.
pub fn wait_for(disk: Disk) -> Result<String, StepError> {
    let name = device_name(disk.index)?;
    if sectors(&name)? != disk.sectors {
        wait_for_size(&name, disk.sectors)?;
    }
    path(disk)
}

/// The device path of a disk that has been waited for.
pub fn path(disk: Disk) -> Result<String, StepError> {
    Ok(format!("/dev/{}", device_name(disk.index)?))
}

/// vda for 0. The driver's names go on with two letters, which no sandbox has slots for.
fn device_name(index: u8) -> Result<String, StepError> {
    if index >= 26 {
        return Err(StepError::new(ErrorKind::Invalid, format!("Disk {index} is out of range")));
    }
    Ok(format!("vd{}", char::from(b'a' + index)))
}

/// The listener is there before the size is read again, so a change between the two is seen.
fn wait_for_size(name: &str, wanted: u64) -> Result<(), StepError> {
    let events = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::KOBJECT_UEVENT),
    )
    .step("open a uevent socket")?;
    rustix::net::bind(&events, &netlink::SocketAddrNetlink::new(0, KERNEL_GROUP))
        .step("listen for uevents")?;
    let mut message = [0u8; 4096];
    while sectors(name)? != wanted {
        match recv(&events, &mut message, RecvFlags::empty()) {
            // Lost events are as good as any: the size is read again.
            Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => (),
            Err(cause) => return Err(cause).step("read a uevent"),
        }
    }
    Ok(())
}

fn sectors(name: &str) -> Result<u64, StepError> {
    let path = format!("/sys/block/{name}/size");
    let file = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step(format_args!("open {path} (does the machine have this disk?)"))?;
    let mut text = [0u8; 32];
    let len = rustix::io::read(&file, &mut text).step(format_args!("read {path}"))?;
    text.get(..len)
        .and_then(|text| std::str::from_utf8(text).ok()?.trim_end().parse().ok())
        .ok_or_else(|| StepError::setup(format!("Failed to understand {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a loop device in place of a slot, from a network namespace of its own as in a container.
    #[test]
    fn change_of_size_ends_the_wait() {
        let folder = tempfile::TempDir::new().unwrap();
        let backing = folder.path().join("disk");
        std::fs::write(&backing, [0; 4096]).unwrap();
        let losetup = |args: &[&str]| {
            let output = std::process::Command::new("losetup").args(args).output().ok()?;
            let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
            output.status.success().then_some(path)
        };
        let Some(device) = losetup(&["--find", "--show", backing.to_str().unwrap()]) else {
            eprintln!("skipped: needs root and loop devices");
            return;
        };
        let name = device.trim_start_matches("/dev/").to_owned();
        let waiter = std::thread::spawn(move || {
            // SAFETY: NEWNET touches neither descriptors nor memory.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
            wait_for_size(&name, 16)
        });
        std::fs::write(&backing, [0; 8192]).unwrap();
        losetup(&["--set-capacity", &device]).unwrap();
        waiter.join().unwrap().unwrap();
        losetup(&["--detach", &device]).unwrap();
    }

    #[test]
    fn disks_are_named_as_the_driver_names_them() {
        assert_eq!(device_name(0).unwrap(), "vda");
        assert_eq!(device_name(3).unwrap(), "vdd");
        assert!(device_name(26).is_err());
    }
}
