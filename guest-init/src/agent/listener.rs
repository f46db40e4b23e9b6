//! Where connections come from, and who may open them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use crate::protocol::AGENT_PORT;
use crate::sys;

/// The host, as a guest sees it. vsock(7)
pub const HOST_CID: u32 = 2;
/// Connections the kernel may hold until they are accepted.
const BACKLOG: libc::c_int = 128;

pub enum Listener {
    /// In a guest: whatever comes from the host.
    Vsock(OwnedFd),
    /// On a host: root, or the user the agent runs as.
    Unix { socket: OwnedFd, own_uid: u32 },
}

impl Listener {
    pub fn vsock() -> Result<Self, Errno> {
        // SAFETY: takes no pointers.
        let fd = unsafe {
            libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
        };
        let socket = sys::owned(fd)?;
        let address = vsock_address(libc::VMADDR_CID_ANY, AGENT_PORT);
        // SAFETY: `address` is a live sockaddr_vm of the length passed.
        let bound =
            unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), address_length(&address)) };
        // SAFETY: takes no pointers.
        if bound < 0 || unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) } < 0 {
            return Err(sys::last_errno());
        }
        Ok(Listener::Vsock(socket))
    }

    /// Takes over a socket that listens already.
    pub fn unix(socket: OwnedFd) -> Result<Self, Errno> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Listener::Unix { socket, own_uid: rustix::process::geteuid().as_raw() })
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Vsock(socket) | Listener::Unix { socket, .. } => socket.as_fd(),
        }
    }

    /// One connection, non-blocking; None if there is none, or its peer may not speak to the agent.
    pub fn accept(&self) -> Option<OwnedFd> {
        match self {
            Listener::Vsock(socket) => accept_from_host(socket),
            Listener::Unix { socket, own_uid } => {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let connection = accept_with(socket, flags).ok()?;
                let peer = rustix::net::sockopt::socket_peercred(&connection).ok()?;
                let uid = peer.uid.as_raw();
                (uid == 0 || uid == *own_uid).then_some(connection)
            }
        }
    }
}

fn accept_from_host(socket: &OwnedFd) -> Option<OwnedFd> {
    let mut address = vsock_address(0, 0);
    let mut length = address_length(&address);
    // SAFETY: `address` has room for `length` bytes, which is a sockaddr_vm's.
    let fd = unsafe {
        libc::accept4(
            socket.as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut length,
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        )
    };
    let connection = sys::owned(fd).ok()?;
    (address.svm_cid == HOST_CID).then_some(connection)
}

pub fn vsock_address(cid: u32, port: u32) -> libc::sockaddr_vm {
    libc::sockaddr_vm {
        svm_family: libc::sa_family_t::try_from(libc::AF_VSOCK).unwrap_or(0),
        svm_reserved1: 0,
        svm_port: port,
        svm_cid: cid,
        svm_zero: [0; 4],
    }
}

pub fn address_length(address: &libc::sockaddr_vm) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of_val(address)).unwrap_or(0)
}
