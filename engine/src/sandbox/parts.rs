//! hull's own files that a sandbox runs, opened once: an upgrade on disk never mixes releases inside a
//! sandbox that lives through it.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::mode::Isolation;
use crate::paths;

#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    #[error(transparent)]
    Missing(#[from] paths::NotFound),
    #[error("Failed to {what} {}", path.display())]
    File { what: &'static str, path: std::path::PathBuf, source: io::Error },
}

/// What a mode needs.
#[derive(Debug)]
pub enum Parts {
    Vm { vmm: File, init: File, kernel: File },
    Namespace { init: OwnedFd },
}

impl Parts {
    pub fn open(mode: Isolation, kernel: Option<&Path>) -> Result<Parts, PartsError> {
        let init = paths::part("hull-init")?;
        match mode {
            Isolation::Vm => Ok(Parts::Vm {
                vmm: open(&paths::part("hull-vmm")?)?,
                init: open(&init)?,
                kernel: match kernel {
                    Some(path) => open(path)?,
                    None => open(&paths::part("vmlinux")?)?,
                },
            }),
            Isolation::Namespace => Ok(Parts::Namespace { init: read_only(&init)? }),
        }
    }
}

/// A file whole, whoever has read from this descriptor before.
pub(super) fn whole(file: &File) -> io::Result<Vec<u8>> {
    let mut file = file;
    let mut content = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// A descriptor of its own to hand over.
pub(super) fn copy(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned()
}

fn open(path: &Path) -> Result<File, PartsError> {
    File::open(path).map_err(|source| PartsError::File { what: "open", path: path.to_path_buf(), source })
}

/// hull-init, on a mount of its own that is read-only and in nobody's tree: a container that opens the
/// agent's `/proc/PID/exe` for writing meets that mount, and not the file every sandbox starts from.
/// (mount_setattr(2): Linux 5.12; EROFS as hull uses it takes 5.16 anyway.)
fn read_only(path: &Path) -> Result<OwnedFd, PartsError> {
    let what = "make a read-only mount of";
    let failed = |source| PartsError::File { what, path: path.to_path_buf(), source };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: `name` is a C string that lives through the call; the kernel reads nothing else.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, name.as_ptr(), flags) };
    let tree = RawFd::try_from(tree).ok().filter(|fd| *fd >= 0);
    let tree = tree.ok_or_else(|| failed(io::Error::last_os_error()))?;
    // SAFETY: open_tree returned a new descriptor, which nobody else owns.
    let tree = unsafe { OwnedFd::from_raw_fd(tree) };
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the kernel reads one mount_attr of the size given.
    let set = unsafe {
        let (fd, empty, size) = (tree.as_fd().as_raw_fd(), c"".as_ptr(), size_of::<libc::mount_attr>());
        libc::syscall(libc::SYS_mount_setattr, fd, empty, libc::AT_EMPTY_PATH, &raw const attr, size)
    };
    if set == 0 { Ok(tree) } else { Err(failed(io::Error::last_os_error())) }
}
