//! virtio-fs (VirtIO 1.2, 5.11), served by a process of its own.
//!
//! ```text
//!   guest ── kick (ioeventfd) ──────────► file server (hull-fs)
//!     ▲                                     │  ▲  walks the rings in the shared guest memory
//!     └── interrupt ◄── call (irqfd) ───────┘  │
//!                                              │ vhost-user socket
//!                worker: stops the rings, sees the server's end
//! ```
//!
//! The device here shows registers and configuration. From DRIVER_OK to reset its queues are the server's: the
//! worker neither reads nor writes them. KVM turns the server's calls into interrupts by itself; where the host
//! refuses that, the worker does. The server is told where the rings are once they were checked; it checks them
//! again itself, as it does their content.
//!
//! The server serves a hostile guest, so what it answers is checked too, and each conversation has a time
//! limit ([`session`]). When it ends, the device's host side has failed, and with it the machine.

mod session;
mod task;

#[cfg(test)]
pub(super) mod tests;

use std::cell::OnceCell;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use self::session::{Session, SessionError};
use self::task::FsTask;
use super::device::{Activation, VirtioDevice, read_config_bytes};
use super::feature;
use super::worker::Worker;
use crate::config::MAX_TAG;

const DEVICE_ID: u32 = 26;
/// Requests that must not wait behind others, and the one request queue. Linux asks for as many pages at once
/// as the request queue has descriptors, less four: here for more than the 256 that FUSE has at most.
const QUEUE_SIZES: [u16; 2] = [128, 512];
/// `num_request_queues`: all but the first.
const REQUEST_QUEUES: u32 = 1;
/// Bytes of `struct virtio_fs_config`: tag, number of request queues.
const CONFIG: usize = MAX_TAG + 4;
/// How long the server may take for one conversation of some twenty messages. It starts together with the
/// machine, on a host that may be busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// The file system device.
pub struct Fs {
    config: [u8; CONFIG],
    socket: UnixStream,
    patience: Duration,
    /// Begun when the driver first asks for features, so that the machine does not wait for the server.
    session: OnceCell<Result<Arc<Session>, Arc<SessionError>>>,
}

impl Fs {
    /// `tag`: at most [`MAX_TAG`] bytes. `socket` leads to the server.
    pub fn new(tag: &str, socket: UnixStream) -> Self {
        Self::with_patience(tag, socket, PATIENCE)
    }

    fn with_patience(tag: &str, socket: UnixStream, patience: Duration) -> Self {
        let mut config = [0; CONFIG];
        let (name, queues) = config.split_at_mut(MAX_TAG);
        name.iter_mut().zip(tag.as_bytes()).for_each(|(to, from)| *to = *from);
        queues.copy_from_slice(&REQUEST_QUEUES.to_le_bytes());
        Self { config, socket, patience, session: OnceCell::new() }
    }

    fn session(&self) -> &Result<Arc<Session>, Arc<SessionError>> {
        self.session.get_or_init(|| {
            let socket = self.socket.try_clone().map_err(SessionError::Resource);
            let session = socket.and_then(|socket| Session::begin(socket, self.patience));
            session.map(Arc::new).map_err(Arc::new)
        })
    }
}

impl VirtioDevice for Fs {
    fn name(&self) -> &'static str {
        "fs"
    }

    fn id(&self) -> u32 {
        DEVICE_ID
    }

    /// What the server has of what any device here offers. All of it if the server cannot be asked: the
    /// driver then gets as far as to activation, where that is told.
    fn features(&self) -> u64 {
        match self.session() {
            Ok(session) => session.features() & feature::COMMON,
            Err(_) => feature::COMMON,
        }
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&self.config, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<Worker> {
        let session = match self.session() {
            Ok(session) => session.clone(),
            Err(error) => {
                error.report(&activation.failure);
                return Err(io::Error::other(error.clone()));
            }
        };
        let (interrupt, failure) = (activation.interrupt.clone(), activation.failure.clone());
        let task = FsTask::start(session, activation)?;
        Worker::spawn(self.name(), task, interrupt, failure)
    }
}
