//! Hears of refused packets through an nflog group of the sandbox's own (linux/netfilter/nfnetlink_log.h).
//!
//! Binding the group takes privileges, reading does not: the one is the keeper's, the other a thread's that
//! has none. What it reads are packets of the sandbox's, hostile from the first byte.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use hull_guest::netlink::{Message, NetlinkError, Protocol, Socket, attributes};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::sockopt::RcvBuf;
use nix::sys::socket::{MsgFlags, NetlinkAddr, recvmsg, setsockopt};
use sha2::{Digest, Sha256};

use super::enforcer::Enforcer;

/// NFNL_SUBSYS_ULOG << 8, with NFULNL_MSG_PACKET and NFULNL_MSG_CONFIG.
const PACKET: u16 = 4 << 8;
const CONFIG: u16 = PACKET | 1;
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_QTHRESH: u16 = 5;
const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;
const NFULA_PAYLOAD: u16 = 9;
/// `struct nlmsghdr` and `struct nfgenmsg`
const NETLINK_HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;

/// Of a packet: its headers.
const COPIED: u32 = 128;
/// Groups below are what people use who choose one by hand.
const FIRST_GROUP: u16 = 0x4000;
const GROUPS: u16 = 0xc000;
const TRIES: u16 = 64;
/// Bytes in the kernel for what is not read yet.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Messages read before it is looked whether to end.
const ROUNDS: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("Failed to open a netlink socket for refused connections")]
    Open(#[source] NetlinkError),
    #[error("Failed to listen to an nflog group for refused connections (tried {TRIES})")]
    Bind(#[source] NetlinkError),
    #[error("Failed to enter the network namespace of the bridges")]
    Enter(#[source] io::Error),
    #[error("Failed to watch for refused connections")]
    Watch(#[source] io::Error),
}

/// A group that is the sandbox's as long as this lives.
#[derive(Debug)]
pub struct Log {
    socket: Socket,
    group: u16,
}

impl Log {
    /// In the network namespace that the caller is in. `owner`, the sandbox's id, says where the search for
    /// a free group begins.
    pub fn open(owner: &str) -> Result<Log, LogError> {
        let mut socket = Socket::open(Protocol::Netfilter).map_err(LogError::Open)?;
        // Without it there is more room: no harm.
        let _ = setsockopt(&socket.as_fd(), RcvBuf, &RECEIVE_BUFFER);
        let hash = Sha256::digest(owner);
        let start = hash.first_chunk::<2>().map_or(0, |bytes| u16::from_be_bytes(*bytes)) % GROUPS;
        let mut step = 0;
        loop {
            let group = FIRST_GROUP + start.wrapping_add(step) % GROUPS;
            match bind(&mut socket, group) {
                Ok(()) => return Ok(Log { socket, group }),
                // Of somebody else's group the kernel says the first, too.
                Err(error) if [Errno::EPERM, Errno::EBUSY].iter().any(|errno| is(&error, *errno)) => {
                    step += 1;
                    if step == TRIES {
                        return Err(LogError::Bind(error));
                    }
                }
                Err(error) => return Err(LogError::Bind(error)),
            }
        }
    }

    pub fn group(&self) -> u16 {
        self.group
    }

    /// Tells `enforcer` of each packet until the answer is dropped. `start` runs the work in a thread without
    /// privileges, in any network namespace.
    pub fn watch(
        self,
        enforcer: Arc<Enforcer>,
        start: impl FnOnce(Box<dyn FnOnce() + Send>) -> Option<JoinHandle<()>>,
    ) -> Result<Watch, LogError> {
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| LogError::Watch(errno.into()))?;
        let stop = Arc::new(stop);
        let ended = Arc::clone(&stop);
        let work = move || {
            if let Err(errno) = self.serve(&enforcer, &ended) {
                eprintln!("Refused connections are told no longer: {errno}");
            }
        };
        let thread = start(Box::new(work)).ok_or_else(|| LogError::Watch(io::Error::other("no thread")))?;
        Ok(Watch { stop, thread: Some(thread) })
    }

    fn serve(&self, enforcer: &Enforcer, stop: &EventFd) -> nix::Result<()> {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let mut fds = [
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                outcome => drop(outcome?),
            }
            if fds[0].any() == Some(true) {
                return Ok(());
            }
            for _ in 0..ROUNDS {
                match receive(&self.socket, &mut buffer) {
                    Ok(count) => each_packet(buffer.get(..count).unwrap_or_default(), |packet| {
                        enforcer.refused_packet(packet);
                    }),
                    Err(Errno::EAGAIN) => break,
                    // More than there was room for: lost.
                    Err(Errno::EINTR | Errno::ENOBUFS) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
    }
}

/// A thread that hears of refused packets; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Nobody else writes: there is room for a 1.
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn is(error: &NetlinkError, errno: Errno) -> bool {
    error.errno.raw_os_error() == errno as i32
}

fn bind(socket: &mut Socket, group: u16) -> Result<(), NetlinkError> {
    let [high, low] = group.to_be_bytes();
    // AF_UNSPEC, NFNETLINK_V0, the group.
    let family = [0, 0, high, low];
    let mut command = Message::new(CONFIG, 0, &family);
    command.attribute_u8(NFULA_CFG_CMD, NFULNL_CFG_CMD_BIND);
    socket.request(command)?;
    let mut mode = Message::new(CONFIG, 0, &family);
    let mut packet = COPIED.to_be_bytes().to_vec();
    packet.extend([NFULNL_COPY_PACKET, 0]);
    // One is told at once: nobody waits for a hundred.
    mode.attribute(NFULA_CFG_MODE, &packet).attribute_be32(NFULA_CFG_QTHRESH, 1);
    socket.request(mode)
}

/// One datagram of the kernel's; of anybody else's nothing.
fn receive(socket: &Socket, buffer: &mut [u8]) -> nix::Result<usize> {
    let mut parts = [IoSliceMut::new(buffer)];
    let fd = socket.as_fd().as_raw_fd();
    let message = recvmsg::<NetlinkAddr>(fd, &mut parts, None, MsgFlags::MSG_DONTWAIT)?;
    let kernel = message.address.is_some_and(|address| address.pid() == 0);
    Ok(if kernel { message.bytes } else { 0 })
}

/// The packets in what the kernel sent, as far as it is whole.
fn each_packet(bytes: &[u8], mut each: impl FnMut(&[u8])) {
    let mut rest = bytes;
    while let Some(header) = rest.first_chunk::<NETLINK_HEADER>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let Ok(length) = usize::try_from(length) else { return };
        let Some(body) = rest.get(NETLINK_HEADER..length) else { return };
        if kind == PACKET
            && let Some(packet) =
                body.get(FAMILY_HEADER..).and_then(|body| attributes(body).of_kind(NFULA_PAYLOAD))
        {
            each(packet);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
