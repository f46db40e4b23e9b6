//! Taking possession of everything the config names, before the jail closes the way to it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::{
    DiskConfig, FileSource, FsConfig, MAX_DISKS, MAX_SEGMENTS, Segment, ValidConfig, VsockConfig,
};

/// Descriptors below are standard input, output and error, which stay.
const FIRST_FREE: RawFd = 3;
/// Descriptors of the largest machine: its disks, with a timer each; vCPUs, queues, network devices, a shared file
/// system and up to 1024 vsock connections.
pub const MAX_OPEN: u64 = (MAX_DISKS * MAX_SEGMENTS) as u64 + 2048;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("Failed to open {what} ({file})")]
    Open { what: &'static str, file: FileSource, source: io::Error },
    #[error("Failed to bind the vsock socket {0}")]
    Bind(FileSource, #[source] io::Error),
    #[error("Failed to connect to the file server's socket {0}")]
    Connect(FileSource, #[source] io::Error),
    #[error("The {what} ({file}) is not a socket")]
    NotASocket { what: &'static str, file: FileSource },
}

/// What a disk is made of.
#[derive(Debug)]
pub enum DiskFiles {
    /// None: an empty slot.
    ReadOnly(Option<Vec<(File, u64)>>),
    ReadWrite(Option<File>),
}

/// All files of a machine, open.
#[derive(Debug)]
pub struct Files {
    pub kernel: File,
    pub initrd: Option<File>,
    pub disks: Vec<DiskFiles>,
    /// Context id and listening socket.
    pub vsock: Option<(u32, UnixListener)>,
    /// Tag, and the socket to the server.
    pub fs: Option<(String, UnixStream)>,
    pub boot_log: Option<File>,
}

impl Files {
    /// To be called once: descriptors named in the config are owned by what is returned.
    pub fn open(config: &ValidConfig) -> Result<Self, FileError> {
        let initrd = config.initrd.as_ref().map(|initrd| open("initrd", initrd, Access::Read)).transpose()?;
        let boot_log =
            config.boot_log.as_ref().map(|log| open("boot log", log, Access::Create)).transpose()?;
        Ok(Self {
            kernel: open("kernel", &config.kernel, Access::Read)?,
            initrd,
            disks: config.disks.iter().map(open_disk).collect::<Result<_, _>>()?,
            vsock: config.vsock.as_ref().map(listen).transpose()?,
            fs: config.fs.as_ref().map(connect).transpose()?,
            boot_log,
        })
    }
}

/// The control socket. To be called once.
pub fn control_socket(fd: RawFd) -> Result<UnixStream, FileError> {
    let what = "control socket";
    let file = open(what, &FileSource::Fd(fd), Access::Read)?;
    into_socket(what, &FileSource::Fd(fd), file).map(UnixStream::from)
}

#[derive(Clone, Copy)]
enum Access {
    Read,
    ReadWrite,
    /// Written from the start, made if it is not there.
    Create,
}

fn open_disk(disk: &DiskConfig) -> Result<DiskFiles, FileError> {
    Ok(match disk {
        DiskConfig::ReadOnly { segments, .. } if segments.is_empty() => DiskFiles::ReadOnly(None),
        DiskConfig::ReadOnly { segments, .. } => {
            let open_segment = |Segment { file, start_sector }: &Segment| {
                Ok((open("disk", file, Access::Read)?, *start_sector))
            };
            DiskFiles::ReadOnly(Some(segments.iter().map(open_segment).collect::<Result<_, _>>()?))
        }
        DiskConfig::ReadWrite { file, .. } => {
            DiskFiles::ReadWrite(file.as_ref().map(|file| open("disk", file, Access::ReadWrite)).transpose()?)
        }
    })
}

fn open(what: &'static str, file: &FileSource, access: Access) -> Result<File, FileError> {
    let result = match file {
        FileSource::Path(path) => match access {
            Access::Read => File::open(path),
            Access::ReadWrite => File::options().read(true).write(true).open(path),
            Access::Create => OpenOptions::new().write(true).create(true).truncate(true).open(path),
        },
        FileSource::Fd(fd) => take(*fd).map(File::from),
    };
    result.map_err(|source| FileError::Open { what, file: file.clone(), source })
}

/// Makes a descriptor that the process was started with its own.
fn take(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only borrowed for the calls below, which fail cleanly if there is no such descriptor.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    if fd < FIRST_FREE {
        let copy = fcntl(borrowed, FcntlArg::F_DUPFD_CLOEXEC(FIRST_FREE))?;
        // SAFETY: just made by fcntl for us alone.
        return Ok(unsafe { OwnedFd::from_raw_fd(copy) });
    }
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open (F_SETFD succeeded), it was handed to this process for the machine, and a
    // valid config names each descriptor once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn listen(config: &VsockConfig) -> Result<(u32, UnixListener), FileError> {
    let what = "vsock socket";
    let listener = match &config.socket {
        FileSource::Path(path) => {
            UnixListener::bind(path).map_err(|source| FileError::Bind(config.socket.clone(), source))?
        }
        FileSource::Fd(_) => {
            let file = open(what, &config.socket, Access::Read)?;
            UnixListener::from(into_socket(what, &config.socket, file)?)
        }
    };
    Ok((config.cid, listener))
}

fn connect(config: &FsConfig) -> Result<(String, UnixStream), FileError> {
    let what = "file server's socket";
    let socket = match &config.socket {
        FileSource::Path(path) => {
            UnixStream::connect(path).map_err(|source| FileError::Connect(config.socket.clone(), source))?
        }
        FileSource::Fd(_) => {
            let file = open(what, &config.socket, Access::Read)?;
            UnixStream::from(into_socket(what, &config.socket, file)?)
        }
    };
    Ok((config.tag.clone(), socket))
}

fn into_socket(what: &'static str, named: &FileSource, file: File) -> Result<OwnedFd, FileError> {
    match file.metadata() {
        Ok(metadata) if metadata.file_type().is_socket() => Ok(file.into()),
        _ => Err(FileError::NotASocket { what, file: named.clone() }),
    }
}

/// Lets the process have as many descriptors as the largest machine takes, or as its hard limit allows:
/// the usual soft limit of 1024 is for programs that call select(2).
pub fn raise_limit() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(MAX_OPEN);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    }
    Ok(())
}

/// Closes every descriptor above standard error that is not in `keep`, so that nothing inherited by
/// accident is within reach of a guest that breaks out.
///
/// # Safety
///
/// Nothing in this process may own a descriptor that is closed: to be called first of all.
pub unsafe fn close_all_but(keep: impl Iterator<Item = RawFd>) -> io::Result<()> {
    let mut keep = keep.filter(|fd| *fd >= FIRST_FREE).collect::<Vec<_>>();
    keep.sort_unstable();
    let mut next = FIRST_FREE;
    for fd in keep {
        close_range(next, fd - 1)?;
        next = fd.saturating_add(1);
    }
    close_range(next, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: takes three numbers; that nobody owns the descriptors is what the caller promised.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets standard input and output lead nowhere; errors still go where they went.
pub fn detach_stdio() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for standard in [0, 1] {
        // SAFETY: replaces descriptors that belong to no object of this process but std's handles,
        // which are only numbers.
        if unsafe { libc::dup2(null.as_raw_fd(), standard) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_limit_is_enough_for_every_machine_or_the_highest_allowed() {
        raise_limit().unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(soft >= hard.min(MAX_OPEN), "{soft} of {hard}");
    }
}
