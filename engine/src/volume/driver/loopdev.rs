//! Loop devices for block volumes on a host. loop(4)
//!
//! A file has one at most: two would be two caches of one file system. The file is locked (flock(2)) by the open file
//! that the device takes over, so it is locked for as long as the device has it: to where it is unmounted last, which
//! may be the mount namespace of a container that saw it come.

use std::ffi::c_int;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LOOP_GET_STATUS64: libc::Ioctl = 0x4C05;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// What lies in the host's page cache twice is written twice as late.
const LO_FLAGS_DIRECT_IO: u32 = 16;
/// As ext4's.
const BLOCK_SIZE: u32 = 4096;
/// Another process may take the device between GET_FREE and CONFIGURE.
const MAX_TRIES: u32 = 64;
const CONTROL: &str = "/dev/loop-control";

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
#[derive(Clone, Copy)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopInfo>() == 232);
const _: () = assert!(size_of::<LoopConfig>() == 304);

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
    Free(#[source] Errno),
    #[error("Failed to put {} on the loop device {}", .file.display(), .device.display())]
    Configure { file: PathBuf, device: PathBuf, source: Errno },
}

/// Puts a loop device over the file at `backing`: past the host's page cache where its file system can do that. One
/// that has it already is taken. None: somebody else has the file.
pub fn attach(backing: &Path) -> Result<Option<LoopDevice>, LoopError> {
    let control = open(Path::new(CONTROL), 0)?;
    let opened = open(backing, libc::O_DIRECT).map(|file| (file, LO_FLAGS_DIRECT_IO));
    let (file, flags) = match opened {
        Err(LoopError::Open { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
            (open(backing, 0)?, 0)
        }
        other => other?,
    };
    if !lock(&file).map_err(|source| LoopError::Open { path: backing.to_owned(), source: source.into() })? {
        return Ok(device_of(&file));
    }
    let mut last = Errno::EBUSY;
    for _ in 0..MAX_TRIES {
        // SAFETY: this request takes no argument; the descriptor is open.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        let number = Errno::result(number).map_err(LoopError::Free)?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open(&path, 0)?;
        match configure(&device, &file, flags) {
            Ok(_) => return Ok(Some(LoopDevice { path, _held: device })),
            Err(Errno::EBUSY) => last = Errno::EBUSY,
            Err(source) => {
                return Err(LoopError::Configure { file: backing.to_owned(), device: path, source });
            }
        }
    }
    Err(LoopError::Free(last))
}

/// Locks a file for as long as it is open. False: another open file of it is locked.
pub fn lock(file: &File) -> Result<bool, Errno> {
    // SAFETY: flock(2) takes a descriptor, which is open, and a number.
    match Errno::result(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The device that a file is on. What is open does not detach itself, so it is opened before it is looked at.
fn device_of(file: &File) -> Option<LoopDevice> {
    let wanted = file.metadata().ok()?;
    let devices =
        fs::read_dir("/sys/block").ok()?.flatten().filter(|entry| entry.path().join("loop").exists());
    devices.map(|entry| Path::new("/dev").join(entry.file_name())).find_map(|path| {
        let device = open(&path, 0).ok()?;
        let info = status(&device)?;
        (info.numbers[..2] == [wanted.dev(), wanted.ino()]).then_some(LoopDevice { path, _held: device })
    })
}

fn status(device: &File) -> Option<LoopInfo> {
    let mut info = LoopInfo::empty();
    // SAFETY: the request fills one `LoopInfo`, which `info` is for as long as the call takes.
    let got = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) };
    (got == 0).then_some(info)
}

impl LoopInfo {
    const fn empty() -> LoopInfo {
        LoopInfo {
            numbers: [0; 5],
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: 0,
            names: [0; 160],
            init: [0; 2],
        }
    }
}

fn open(path: &Path, flags: c_int) -> Result<File, LoopError> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags | libc::O_NOFOLLOW).open(path);
    opened.map_err(|source| LoopError::Open { path: path.to_owned(), source })
}

fn configure(device: &File, file: &File, flags: u32) -> Result<c_int, Errno> {
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(|_| Errno::EBADF)?,
        block_size: BLOCK_SIZE,
        info: LoopInfo { flags: LO_FLAGS_AUTOCLEAR | flags, ..LoopInfo::empty() },
        reserved: [0; 8],
    };
    // SAFETY: the request reads one `LoopConfig`, which `config` is for as long as the call takes; both descriptors
    // are open.
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) })
}
