//! Loop devices for block volumes on a host. loop(4)

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::block;

const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
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
    #[error(
        "The disk {} is in use: a virtual machine has it, or somebody holds on to a mount of it, such as a container that \
         was given the host's file systems",
        .0.display()
    )]
    InUse(PathBuf),
    #[error("Failed to lock {}", .path.display())]
    Lock { path: PathBuf, source: Errno },
    #[error("Failed to find a free loop device")]
    Free(#[source] Errno),
    #[error("Failed to put {} on the loop device {}", .file.display(), .device.display())]
    Configure { file: PathBuf, device: PathBuf, source: Errno },
}

/// Puts a loop device over the file at `backing`: past the host's page cache where its file system can do that. The device
/// has the same open file, and with it the lock: a mount that outlives its sandbox in somebody's mount namespace, and
/// would share the file system with a second one or with a machine, keeps both away.
pub fn attach(backing: &Path) -> Result<LoopDevice, LoopError> {
    let control = open(Path::new(CONTROL), 0)?;
    let opened = open(backing, libc::O_DIRECT).map(|file| (file, LO_FLAGS_DIRECT_IO));
    let (file, flags) = match opened {
        Err(LoopError::Open { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
            (open(backing, 0)?, 0)
        }
        other => other?,
    };
    lock(&file, backing)?;
    let mut last = Errno::EBUSY;
    for _ in 0..MAX_TRIES {
        // SAFETY: this request takes no argument; the descriptor is open.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        let number = Errno::result(number).map_err(LoopError::Free)?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open(&path, 0)?;
        match configure(&device, &file, flags) {
            Ok(_) => return Ok(LoopDevice { path, _held: device }),
            Err(Errno::EBUSY) => last = Errno::EBUSY,
            Err(source) => {
                return Err(LoopError::Configure { file: backing.to_owned(), device: path, source });
            }
        }
    }
    Err(LoopError::Free(last))
}

fn open(path: &Path, flags: c_int) -> Result<File, LoopError> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags | libc::O_NOFOLLOW).open(path);
    opened.map_err(|source| LoopError::Open { path: path.to_owned(), source })
}

/// A mount that has just gone may have let go of its device a moment later (loop(4), autoclear).
fn lock(file: &File, path: &Path) -> Result<(), LoopError> {
    const SLICE: Duration = Duration::from_millis(20);
    const LIMIT: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + LIMIT;
    loop {
        match block::lock(file) {
            Err(Errno::EWOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(SLICE),
            Err(Errno::EWOULDBLOCK) => return Err(LoopError::InUse(path.to_owned())),
            locked => return locked.map_err(|source| LoopError::Lock { path: path.to_owned(), source }),
        }
    }
}

fn configure(device: &File, file: &File, flags: u32) -> Result<c_int, Errno> {
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(|_| Errno::EBADF)?,
        block_size: BLOCK_SIZE,
        info: LoopInfo {
            numbers: [0; 5],
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_AUTOCLEAR | flags,
            names: [0; 160],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: the request reads one `LoopConfig`, which `config` is for as long as the call takes; both descriptors
    // are open.
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) })
}
