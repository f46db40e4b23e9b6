//! Loop devices: block devices over files. loop(4)

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LOOP_GET_STATUS64: libc::Ioctl = 0x4C05;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const CONTROL: &str = "/dev/loop-control";
/// That of the file systems that are mounted here: anything smaller costs requests.
const BLOCK_SIZE: u32 = 4096;
/// Another process may take the device between GET_FREE and CONFIGURE.
const MAX_TRIES: u32 = 64;

/// `lo_flags`.
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
const DIRECT_IO: u32 = 16;

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    /// The file's device and inode, the device's own number, offset and size limit.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
    /// Past the page cache of the file, which was opened so: what lies there twice is written twice as late.
    Direct,
}

/// A loop device in use. It detaches itself once neither this nor a mount holds it.
#[derive(Debug)]
pub struct LoopDevice {
    pub path: PathBuf,
    _held: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    #[error("Failed to open {}", .path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("Failed to find a free loop device")]
    Free(#[source] io::Error),
    #[error("Failed to put it on the loop device {}", .path.display())]
    Configure { path: PathBuf, source: io::Error },
}

/// Puts a loop device over a file. The device keeps the same open file, and with it the file's lock (flock(2)).
pub fn attach(file: &File, access: Access) -> Result<LoopDevice, LoopError> {
    let control = open(Path::new(CONTROL), true)?;
    let mut last = io::Error::from_raw_os_error(libc::EBUSY);
    for _ in 0..MAX_TRIES {
        let number = ioctl(&control, LOOP_CTL_GET_FREE, 0).map_err(LoopError::Free)?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open(&path, access != Access::ReadOnly)?;
        match configure(&device, file, access) {
            Ok(()) => return Ok(LoopDevice { path, _held: device }),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => last = error,
            Err(source) => return Err(LoopError::Configure { path, source }),
        }
    }
    Err(LoopError::Free(last))
}

/// The loop device at `path` if that is the file's, by its device and inode. What is open does not detach itself, so it
/// is opened before it is looked at.
pub fn of_file(path: PathBuf, device: u64, inode: u64) -> Option<LoopDevice> {
    let held = open(&path, true).ok()?;
    let mut info = LoopInfo::with(0);
    ioctl(&held, LOOP_GET_STATUS64, &raw mut info as usize).ok()?;
    (info.numbers[..2] == [device, inode]).then_some(LoopDevice { path, _held: held })
}

impl LoopInfo {
    const fn with(flags: u32) -> LoopInfo {
        LoopInfo {
            numbers: [0; 5],
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            names: [0; 160],
            init: [0; 2],
        }
    }
}

fn open(path: &Path, write: bool) -> Result<File, LoopError> {
    let opened = OpenOptions::new().read(true).write(write).open(path);
    opened.map_err(|source| LoopError::Open { path: path.to_owned(), source })
}

fn configure(device: &File, file: &File, access: Access) -> io::Result<()> {
    let flags = match access {
        Access::ReadOnly => READ_ONLY,
        Access::ReadWrite => 0,
        Access::Direct => DIRECT_IO,
    };
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?,
        block_size: BLOCK_SIZE,
        info: LoopInfo::with(AUTOCLEAR | flags),
        reserved: [0; 8],
    };
    ioctl(device, LOOP_CONFIGURE, &raw const config as usize).map(drop)
}

fn ioctl(fd: &File, request: libc::Ioctl, argument: usize) -> io::Result<c_int> {
    // SAFETY: the requests of this file read one `LoopConfig` or fill one `LoopInfo` behind `argument`, which the caller
    // keeps alive, or take no pointer.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
