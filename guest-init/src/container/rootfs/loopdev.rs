//! Loop devices, for kernels whose EROFS does not mount files. loop(4)

use std::ffi::c_int;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Step, StepError, shown};

const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// EROFS asks for its own block size; anything smaller costs requests.
const BLOCK_SIZE: u32 = 4096;
/// Another process may take the device between GET_FREE and CONFIGURE.
const MAX_TRIES: u32 = 64;

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
struct LoopInfo {
    numbers: [u64; 5],
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    names: [u8; 64 + 64 + 32],
    init: [u64; 2],
}

/// `struct loop_config` of linux/loop.h.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopInfo>() == 232);
const _: () = assert!(size_of::<LoopConfig>() == 304);

/// A loop device in use. It detaches itself once neither this nor a mount holds it.
pub struct LoopDevice {
    pub path: String,
    _held: OwnedFd,
}

/// Puts a read-only loop device over the file at `backing`.
pub fn attach(backing: &[u8]) -> Result<LoopDevice, StepError> {
    let file = rustix::fs::open(backing, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step(format_args!("open {}", shown(backing)))?;
    let control = rustix::fs::open("/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .step("open /dev/loop-control (this kernel's EROFS needs loop devices to mount images)")?;
    let mut last = Errno::BUSY;
    for _ in 0..MAX_TRIES {
        let number = ioctl(&control, LOOP_CTL_GET_FREE, 0).step("find a free loop device")?;
        let path = format!("/dev/loop{number}");
        let device = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .step(format_args!("open {path}"))?;
        match configure(&device, &file) {
            Ok(()) => return Ok(LoopDevice { path, _held: device }),
            Err(Errno::BUSY) => last = Errno::BUSY,
            Err(cause) => return Err(cause).step(format_args!("put {} on {path}", shown(backing))),
        }
    }
    Err(last).step("find a free loop device")
}

fn configure(device: &OwnedFd, file: &OwnedFd) -> Result<(), Errno> {
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(|_| Errno::BADF)?,
        block_size: BLOCK_SIZE,
        info: LoopInfo {
            numbers: [0; 5],
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
            names: [0; 160],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    ioctl(device, LOOP_CONFIGURE, &raw const config as usize).map(drop)
}

fn ioctl(fd: &OwnedFd, request: libc::Ioctl, argument: usize) -> Result<c_int, Errno> {
    // SAFETY: the requests of this file read at most one `LoopConfig` behind `argument`, which the
    // caller keeps alive, or take no pointer.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, argument) };
    if result < 0 { Err(last_error()) } else { Ok(result) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
