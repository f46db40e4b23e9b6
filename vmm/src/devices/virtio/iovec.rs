//! System calls that read and write guest buffers directly, without a copy in between.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::chain::Slices;

/// Vectors in one call; the kernel's UIO_MAXIOV.
pub(super) const MAX_VECTORS: usize = 1024;
/// Smallest unit of memory that the host takes back.
const PAGE: usize = 4096;

pub(super) fn vectors(slices: &Slices<'_>) -> Vec<libc::iovec> {
    slices
        .iter()
        .take(MAX_VECTORS)
        .map(|slice| libc::iovec { iov_base: slice.ptr_guard_mut().as_ptr().cast(), iov_len: slice.len() })
        .collect()
}

pub(super) fn count(vectors: &[libc::iovec]) -> libc::c_int {
    // At most MAX_VECTORS.
    libc::c_int::try_from(vectors.len()).unwrap_or(libc::c_int::MAX)
}

pub(super) fn outcome(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn file_offset(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// preadv(2): fills guest buffers from a file.
pub fn read_at(file: BorrowedFd<'_>, slices: &Slices<'_>, offset: u64) -> io::Result<usize> {
    let (vectors, offset) = (vectors(slices), file_offset(offset)?);
    // SAFETY: each vector is a range of mapped guest memory that `slices` borrows; the kernel writes
    // there as a device does, and nobody holds a reference into guest memory.
    outcome(unsafe { libc::preadv(file.as_raw_fd(), vectors.as_ptr(), count(&vectors), offset) })
}

/// pwritev(2): writes guest buffers to a file.
pub fn write_at(file: BorrowedFd<'_>, slices: &Slices<'_>, offset: u64) -> io::Result<usize> {
    let (vectors, offset) = (vectors(slices), file_offset(offset)?);
    // SAFETY: each vector is a range of mapped guest memory that `slices` borrows; it is only read.
    outcome(unsafe { libc::pwritev(file.as_raw_fd(), vectors.as_ptr(), count(&vectors), offset) })
}

/// readv(2): fills guest buffers from a socket.
pub fn receive(socket: BorrowedFd<'_>, slices: &Slices<'_>) -> io::Result<usize> {
    let vectors = vectors(slices);
    // SAFETY: as for `read_at`.
    outcome(unsafe { libc::readv(socket.as_raw_fd(), vectors.as_ptr(), count(&vectors)) })
}

/// writev(2): writes guest buffers to a tap, as one packet.
pub fn write_packet(tap: BorrowedFd<'_>, slices: &Slices<'_>) -> io::Result<usize> {
    let vectors = vectors(slices);
    // SAFETY: as for `write_at`.
    outcome(unsafe { libc::writev(tap.as_raw_fd(), vectors.as_ptr(), count(&vectors)) })
}

/// sendmsg(2): writes guest buffers to a socket, without SIGPIPE.
pub fn send(socket: BorrowedFd<'_>, slices: &Slices<'_>) -> io::Result<usize> {
    let mut vectors = vectors(slices);
    // SAFETY: all fields of msghdr may be zero: no name, no control data, no vectors.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len();
    // SAFETY: the vectors outlive the call and lie in guest memory that `slices` borrows.
    outcome(unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) })
}

/// madvise(2): gives the whole pages of guest buffers back to the host; they read as zeros when they are next
/// touched. `advice` is that of [`crate::memory::discard_advice`].
pub fn discard(slices: &Slices<'_>, advice: i32) -> io::Result<()> {
    for vector in vectors(slices) {
        let start = vector.iov_base as usize;
        let first = start.next_multiple_of(PAGE);
        let end = (start + vector.iov_len) / PAGE * PAGE;
        let Some(len) = end.checked_sub(first).filter(|len| *len > 0) else { continue };
        // SAFETY: the range lies inside of the vector, which is mapped guest memory that `slices` borrows.
        // Its bytes change as if the guest had written zeros: nobody holds a reference to them.
        if unsafe { libc::madvise(first as *mut libc::c_void, len, advice) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// getrandom(2): fills guest buffers with random bytes.
pub fn random(slices: &Slices<'_>) -> io::Result<()> {
    for vector in vectors(slices) {
        let mut done = 0;
        while done < vector.iov_len {
            // SAFETY: the rest of the vector is mapped guest memory, as for `read_at`.
            let result = unsafe {
                libc::getrandom(vector.iov_base.cast::<u8>().add(done).cast(), vector.iov_len - done, 0)
            };
            match outcome(result) {
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
