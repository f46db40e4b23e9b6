//! virtio-vsock in user space (VirtIO 1.2, 5.10), bridged to a unix socket.
//!
//! A client connects to the socket, writes `CONNECT <port>\n` and is connected to that port in the
//! guest. Once the guest has accepted, the client reads `OK <host port>\n`, and from then on the
//! connection is a stream in both directions, each of which ends by itself. A guest that refuses, or a
//! line that is none, closes it. Bytes behind the line are data: a client need not wait for the answer.
//!
//! ```text
//!   Greeting ──line──► Waiting ──doorbell──► Connected: announced ► requested ► open ──► Draining ──► gone
//!      (at once, if the doorbell was rung before)                                 (client gets the rest)
//! ```
//!
//! - **Only the host opens connections.** Each request of the guest is answered with RST. One to
//!   [`READY_PORT`] has a meaning still: it is the doorbell, rung when the guest's agent listens. Before
//!   it, clients wait in the device, so that nobody has to try again and again. A reset takes it back.
//! - **Memory is bounded.** What a slow client has not read is kept, up to [`BUF_ALLOC`] bytes, which is
//!   the credit the guest has; one that exceeds it is reset. Bytes towards the guest stay in the
//!   client's socket until there is a buffer and credit. Answers to packets that belong to no connection
//!   are counted, and with too many of them pending the guest's packets wait.
//! - **At most [`MAX_CLIENTS`] at a time**; further ones are closed at once, unless a connection can be
//!   reset whose client is gone and whose last bytes the guest has not taken. The device cannot tell a
//!   control connection from a stream, they go to the same port; that some are left for control is
//!   for the one client there is, the supervisor, to see to.
//! - **Fair**: connections with something to send take turns, one packet each.

mod backlog;
mod connection;
mod credit;
mod greeting;
mod muxer;
mod packet;
mod task;

#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::net::UnixListener;

use self::muxer::Muxer;
use self::task::VsockTask;
use super::device::{Activation, VirtioDevice, read_config_bytes};
use super::feature;
use super::worker::Worker;

/// The host's port at which the guest's agent rings when it listens: it sends a connection request
/// there, which is refused like every other.
pub const READY_PORT: u32 = 1023;

/// Bytes the guest may have under way to a client.
pub const BUF_ALLOC: u32 = 64 * 1024;

/// Clients at a time, in whatever state.
pub const MAX_CLIENTS: usize = 1024;

const DEVICE_ID: u32 = 19;
/// The host, as a peer.
const HOST_CID: u64 = 2;
/// Receive, transmit, event; the names are the guest's.
const QUEUE_SIZES: [u16; 3] = [128, 128, 4];
/// VIRTIO_VSOCK_F_STREAM.
const F_STREAM: u64 = 1 << 0;

/// The socket device.
pub struct Vsock {
    cid: u32,
    listener: UnixListener,
}

impl Vsock {
    /// `cid` is the guest's address; clients arrive at `listener`, and wait there until the guest's
    /// driver is up.
    pub fn new(cid: u32, listener: UnixListener) -> Self {
        Self { cid, listener }
    }
}

impl VirtioDevice for Vsock {
    fn name(&self) -> &'static str {
        "vsock"
    }

    fn id(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self) -> u64 {
        feature::COMMON | F_STREAM
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&u64::from(self.cid).to_le_bytes(), offset, data);
    }

    fn activate(&mut self, mut activation: Activation) -> io::Result<Worker> {
        let [rx, tx, events] = activation.take_queues()?;
        let Activation { memory, interrupt, failure, .. } = activation;
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let muxer = Muxer::new(self.cid.into());
        let task = VsockTask::new(memory, interrupt.clone(), [rx, tx, events], listener, muxer);
        Worker::spawn(self.name(), task, interrupt, failure)
    }
}
