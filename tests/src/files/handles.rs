//! Files opened by number, without a name: what a container must not do on a file system it has a part of.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `struct file_handle` of open_by_handle_at(2), with room for every file system's.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; 128],
}

/// Opens a file of the mount by its own handle, and then inodes 1 to 300 by handles of ext4's make. Each that opens
/// is a line of what was reached.
pub fn escape(path: &Path) -> io::Result<Vec<String>> {
    let mount = File::open(path)?;
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut handle = Handle { bytes: 128, kind: 0, data: [0; 128] };
    let mut mount_id = 0;
    // SAFETY: a C string, a handle with as much room as it says, and an integer, all of which live through the call.
    let named = unsafe {
        libc::name_to_handle_at(libc::AT_FDCWD, name.as_ptr(), (&raw mut handle).cast(), &raw mut mount_id, 0)
    };
    let mut reached = Vec::new();
    if named == 0 && open(&mount, &mut handle) {
        reached.push("the file's own handle".to_owned());
    }
    // FILEID_INO32_GEN: inode and generation, each 32 bits; generation 0 is "any" for ext4's root only.
    for inode in 1u32..300 {
        let mut handle = Handle { bytes: 8, kind: 1, data: [0; 128] };
        handle.data[..4].copy_from_slice(&inode.to_ne_bytes());
        if open(&mount, &mut handle) {
            reached.push(format!("inode {inode}"));
        }
    }
    Ok(reached)
}

fn open(mount: &File, handle: &mut Handle) -> bool {
    // SAFETY: an open descriptor, and a handle with as many bytes as it says, which lives through the call.
    let fd = unsafe {
        libc::open_by_handle_at(mount.as_raw_fd(), std::ptr::from_mut(handle).cast(), libc::O_RDONLY)
    };
    if fd >= 0 {
        // SAFETY: a fresh descriptor that nobody else has.
        unsafe { libc::close(fd) };
    }
    fd >= 0
}
