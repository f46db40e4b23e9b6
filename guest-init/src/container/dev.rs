//! The nodes and links in a container's /dev: docker's default set.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, makedev, mknodat, openat2, symlinkat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::paths;
use super::rootfs::fsapi::attach;
use crate::error::{Step, StepError};
use crate::protocol::TerminalSize;

pub const NODES: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: &[(&str, &str)] = &[
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

/// Fills the fresh /dev: with nodes, or with mounts of the host's. The umask must be 0.
pub fn populate(hosts: Option<Vec<OwnedFd>>) -> Result<(), StepError> {
    match hosts {
        Some(hosts) => {
            for ((path, ..), host) in NODES.iter().zip(hosts) {
                attach(host, paths::open_or_make(path.as_bytes(), paths::Kind::File)?, path)?;
            }
        }
        None => {
            for (path, major, minor) in NODES {
                let mode = Mode::from_raw_mode(0o666);
                mknodat(CWD, *path, FileType::CharacterDevice, mode, makedev(*major, *minor))
                    .step(format_args!("make the device {path}"))?;
            }
        }
    }
    for (path, target) in LINKS {
        symlinkat(*target, CWD, *path).step(format_args!("link {path}"))?;
    }
    Ok(())
}

/// The container's /dev/null. A folder of the image's or the user's may be in the place of /dev, and a container that
/// runs may replace what is in its own: a link there would put a file of the host's kernel (/proc/sys) in front of what
/// is to be hidden, or into the command's hands. So links are not followed, and nothing but the null device will do.
pub fn open_null(flags: OFlags) -> Result<OwnedFd, StepError> {
    let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC;
    let null = openat2(CWD, "/dev/null", flags, Mode::empty(), no_links).step("open /dev/null")?;
    let stat = fstat(&null).step("look at /dev/null")?;
    let is_device = FileType::from_raw_mode(stat.st_mode).is_char_device();
    if is_device && stat.st_rdev == makedev(1, 3) {
        Ok(null)
    } else {
        Err(StepError::setup("Failed to open /dev/null: what the container has there is not the null device"))
    }
}

/// Both ends of the container's terminal.
pub struct Terminal {
    /// For the agent.
    pub controller: OwnedFd,
    /// For the container's process.
    pub terminal: OwnedFd,
}

/// DEVPTS_SUPER_MAGIC of linux/magic.h.
const DEVPTS_MAGIC: u64 = 0x1cd1;

/// A terminal from the container's own devpts. What lies at that path in a container that runs may be of
/// its making, so it is looked at: links are not followed, and nothing but a devpts will do.
pub fn open_terminal(size: TerminalSize) -> Result<Terminal, StepError> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let controller =
        openat2(CWD, "/dev/pts/ptmx", flags, Mode::empty(), no_links).step("open a pseudo terminal")?;
    let kind = rustix::fs::fstatfs(&controller).step("look at the pseudo terminal")?.f_type;
    if u64::try_from(kind).ok() != Some(DEVPTS_MAGIC) {
        return Err(StepError::setup(
            "Failed to open a pseudo terminal: /dev/pts is not a devpts file system",
        ));
    }
    unlockpt(&controller).step("unlock the pseudo terminal")?;
    let terminal =
        ioctl_tiocgptpeer(&controller, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .step("open the pseudo terminal's other end")?;
    set_size(&terminal, size).step("set the terminal's size")?;
    Ok(Terminal { controller, terminal })
}

/// The container's first terminal, which is also its console.
pub fn open_console(size: TerminalSize) -> Result<Terminal, StepError> {
    let terminal = open_terminal(size)?;
    // In a /dev of the user's it may be there.
    let console = paths::open_in_dev("console", paths::Kind::File)?;
    let clone =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let own = open_tree(&terminal.terminal, c"", clone).step("put the terminal on /dev/console")?;
    attach(own, console, "/dev/console")?;
    Ok(terminal)
}

/// Tells the terminal, and who runs in it, its size.
pub fn set_size(terminal: impl AsFd, size: TerminalSize) -> Result<(), Errno> {
    tcsetwinsize(terminal, Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 })
}
