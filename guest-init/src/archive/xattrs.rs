//! Extended attributes, as far as an archive takes them.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

/// Names and values.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Bytes of one entry's attributes: Linux lists no more names (XATTR_LIST_MAX), and readers hold a header
/// in memory. What comes beyond is left out.
const MAX: usize = 64 * 1024;
/// Of overlayfs and of hull: they mean something only where they lie.
const LEFT_OUT: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"trusted.hull."];

/// Of a file or folder that is open for reading.
pub fn of_file(fd: &OwnedFd) -> Xattrs {
    all(|list| rustix::fs::flistxattr(fd, list), |name, value| rustix::fs::fgetxattr(fd, name, value))
}

/// Of what cannot be opened: links, devices and the like. There is no call that takes a folder and a name, so
/// this process goes there.
pub fn of_name(parent: &OwnedFd, name: &[u8]) -> Xattrs {
    if rustix::process::fchdir(parent).is_err() {
        return Xattrs::new();
    }
    all(
        |list| rustix::fs::llistxattr(name, list),
        |attribute, value| rustix::fs::lgetxattr(name, attribute, value),
    )
}

/// A file system without attributes has none, and what has gone since has none any more.
fn all(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&CString, &mut [u8]) -> Result<usize, Errno>,
) -> Xattrs {
    let mut found = Xattrs::new();
    // Most have none, and a look costs less than room for the longest list. An empty buffer would not do: what
    // is told of it is 0 bytes, of any list.
    if !matches!(list(&mut [0; 1]), Ok(1..) | Err(Errno::RANGE)) {
        return found;
    }
    let mut names = vec![0; MAX];
    let length = list(&mut names).unwrap_or(0);
    let mut room = MAX;
    for name in names.get(..length).unwrap_or_default().split(|byte| *byte == 0) {
        if name.is_empty() || LEFT_OUT.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let Ok(wanted) = CString::new(name) else { continue };
        let mut value = vec![0; MAX];
        let Ok(bytes) = get(&wanted, &mut value) else { continue };
        value.truncate(bytes);
        // With what stands around them in a record, and in an inode.
        let needed = name.len() + value.len() + 32;
        if needed > room {
            continue;
        }
        room -= needed;
        value.shrink_to_fit();
        found.push((name.to_vec(), value));
    }
    found.sort_unstable();
    found
}
