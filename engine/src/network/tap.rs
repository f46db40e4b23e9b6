//! Taps: the host's end of a machine's network device.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::device::{DeviceError, Devices, Port, Result};

const TUN: &str = "/dev/net/tun";

// linux/if_tun.h: _IOW('T', 202, int), though it takes a struct ifreq.
nix::ioctl_write_ptr_bad!(tunsetiff, libc::TUNSETIFF as nix::sys::ioctl::ioctl_num_type, libc::ifreq);

impl Devices {
    /// The tap is there as long as its descriptor is open anywhere, so it ends with its machine. It has room
    /// for a virtio-net header before each frame; how large that is, and what is offloaded, is for who
    /// serves the device to say. One that is left of an earlier machine goes.
    pub fn add_tap(&mut self, port: &Port) -> Result<OwnedFd> {
        let mut made = self.place.enter(|| open(port.name)).map_err(DeviceError::Place)?;
        if made.is_err() && self.remove(port.name)? {
            made = self.place.enter(|| open(port.name)).map_err(DeviceError::Place)?;
        }
        let tap = made?;
        if let Some(mtu) = port.mtu {
            let index = self.index(port.name)?;
            self.route.set_mtu(index, mtu)?;
        }
        self.join(port)?;
        Ok(tap)
    }
}

/// In the calling thread's namespace. Fails with EBUSY where there is a device of the name.
fn open(name: &str) -> Result<OwnedFd> {
    let options = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let tun: File = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(options)
        .open(TUN)
        .map_err(DeviceError::NoTun)?;
    let failed = |source| DeviceError::Tap { name: name.to_owned(), source };
    let mut request = request(name).ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL;
    request.ifr_ifru.ifru_flags = libc::c_short::from_ne_bytes(low_bytes(flags));
    // SAFETY: TUNSETIFF reads a struct ifreq, which lives through the call.
    unsafe { tunsetiff(tun.as_raw_fd(), &raw const request) }.map_err(|errno| failed(errno.into()))?;
    Ok(tun.into())
}

/// The field is 16 bits wide, and the flags are bits of it.
fn low_bytes(flags: libc::c_int) -> [u8; 2] {
    let bytes = flags.to_le_bytes();
    u16::from_le_bytes([bytes[0], bytes[1]]).to_ne_bytes()
}

/// None: the name is too long, or empty.
fn request(name: &str) -> Option<libc::ifreq> {
    // SAFETY: a struct ifreq of zeros is one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Some(request)
}
