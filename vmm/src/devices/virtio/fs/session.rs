//! The conversation with the file server: vhost-user, in which the VMM is the front end
//! (QEMU docs/interop/vhost-user.rst). The messages are the `vhost` crate's.
//!
//! ```text
//!   begin: owner, features ──► start: memory, rings, enable ──► stop: disable, where each ring stood
//!                                        ▲                                │
//!                                        └──────── the guest's reset ─────┘
//! ```
//!
//! Each of the three has a time limit. The crate waits for an answer without end, and takes a socket's own
//! limit (SO_RCVTIMEO) for a reason to try again; so a second thread shuts the socket down when the time is
//! over, and the wait ends like with a server that is gone.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, Builder};
use std::time::Duration;

use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Error as ProtocolError, Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{GuestAddress, GuestMemoryBackend};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::EventFd;

use super::QUEUE_SIZES;
use crate::devices::virtio::failure::Failure;
use crate::devices::virtio::feature;
use crate::devices::virtio::queue::{Addresses, Queue};
use crate::lifecycle::{ExitCause, in_words};
use crate::memory::GuestMemory;

/// Stack of the thread that watches the time.
const WATCH_STACK: usize = 64 * 1024;
/// What the protocol must be able to do: say how many queues there are, and answer each message.
const PROTOCOL: VhostUserProtocolFeatures =
    VhostUserProtocolFeatures::MQ.union(VhostUserProtocolFeatures::REPLY_ACK);

/// Why the server is of no use any longer.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("the file server (hull-fs) has ended")]
    Ended,
    #[error("the file server (hull-fs) did not answer for {0:?}")]
    Silent(Duration),
    #[error("the file server (hull-fs) was asked to {action} and failed or gave a wrong answer")]
    Refused { action: &'static str, source: vhost::Error },
    #[error("the file server (hull-fs) lacks {0}")]
    Lacks(&'static str),
    #[error("the file server (hull-fs) serves {0} queues; {needed} are needed", needed = QUEUE_SIZES.len())]
    Queues(u64),
    #[error("the file server (hull-fs) spoke without being asked")]
    Unasked,
    #[error("ring {0} of the shared file system is not in guest memory")]
    Ring(usize),
    #[error("Failed to get what a conversation with the file server needs")]
    Resource(#[source] io::Error),
}

/// How rings in use and the device tell each other.
pub struct Signals {
    /// From the server: buffers were used in some queue.
    pub call: Arc<EventFd>,
    /// From the server: it cannot go on with some queue.
    pub error: EventFd,
}

/// A server that has answered.
pub struct Session {
    frontend: Frontend,
    /// The front end's own, once more: to wait for the server's end, and to shut down.
    socket: UnixStream,
    patience: Duration,
    features: u64,
}

impl SessionError {
    /// Tells the machine why it ends. What the transport and the worker say of the same error comes second, and
    /// only the first counts.
    pub fn report(&self, failure: &Failure) {
        failure.report(ExitCause::FileServerFailed { reason: in_words(self) });
    }
}

impl Session {
    /// Claims the server and learns what it can do.
    pub fn begin(socket: UnixStream, patience: Duration) -> Result<Self, SessionError> {
        let theirs = socket.try_clone().map_err(SessionError::Resource)?;
        let queues = u64::try_from(QUEUE_SIZES.len()).unwrap_or(u64::MAX);
        let mut session =
            Self { frontend: Frontend::from_stream(theirs, queues), socket, patience, features: 0 };
        session.features = session.converse(negotiate)?;
        Ok(session)
    }

    /// All that the server offers, known here or not.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Shares guest memory and hands the rings over.
    pub fn start(
        &self,
        memory: &GuestMemory,
        features: u64,
        queues: &[Queue],
        signals: &Signals,
    ) -> Result<(), SessionError> {
        let features = features | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        let regions = memory
            .iter()
            .map(VhostUserMemoryRegionInfo::from_guest_region)
            .collect::<Result<Vec<_>, _>>()
            .map_err(refused("map guest memory, which is not shared"))?;
        self.converse(|server| {
            server.set_features(features).map_err(refused("use the guest's features"))?;
            server.set_mem_table(&regions).map_err(refused("map guest memory"))?;
            queues
                .iter()
                .enumerate()
                .try_for_each(|(index, queue)| start_ring(server, memory, index, queue, signals))
        })
    }

    /// Takes the rings back: from then on the server touches no guest memory.
    pub fn stop(&self) -> Result<(), SessionError> {
        self.converse(|server| {
            (0..QUEUE_SIZES.len()).try_for_each(|index| {
                server.set_vring_enable(index, false).map_err(refused("disable a ring"))?;
                // Where it stood is of no interest: a driver starts again at 0.
                server.get_vring_base(index).map(drop).map_err(refused("stop a ring"))
            })
        })
    }

    /// What it means that the socket is ready outside of a conversation.
    pub fn interpret(ready: EventSet) -> SessionError {
        let gone = EventSet::READ_HANG_UP | EventSet::HANG_UP | EventSet::ERROR;
        if ready.intersects(gone) { SessionError::Ended } else { SessionError::Unasked }
    }

    fn converse<T>(
        &self,
        speak: impl FnOnce(&mut Frontend) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        let (spoken, over) = mpsc::channel();
        thread::scope(|scope| {
            let watch = Builder::new()
                .name("fs-watch".to_owned())
                .stack_size(WATCH_STACK)
                .spawn_scoped(scope, move || self.watch(&over))
                .map_err(SessionError::Resource)?;
            // Clones share one state.
            let outcome = speak(&mut self.frontend.clone());
            drop::<mpsc::Sender<()>>(spoken);
            // A panic was printed by its thread; the outcome stands.
            let is_late = watch.join().unwrap_or(false);
            if is_late { Err(SessionError::Silent(self.patience)) } else { outcome }
        })
    }

    /// True if the conversation took too long and was cut off.
    fn watch(&self, over: &Receiver<()>) -> bool {
        let is_late = over.recv_timeout(self.patience) == Err(RecvTimeoutError::Timeout);
        if is_late {
            // Fails only if the server has closed it, which ends the wait too.
            let _ = self.socket.shutdown(Shutdown::Both);
        }
        is_late
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Yields the features offered.
fn negotiate(server: &mut Frontend) -> Result<u64, SessionError> {
    server.set_owner().map_err(refused("serve this machine"))?;
    let features = server.get_features().map_err(refused("name its features"))?;
    if features & feature::VERSION_1 == 0 {
        return Err(SessionError::Lacks("the feature VERSION_1"));
    }
    if features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() == 0 {
        return Err(SessionError::Lacks("the feature PROTOCOL_FEATURES"));
    }
    let protocol = server.get_protocol_features().map_err(refused("name its protocol features"))?;
    if !protocol.contains(PROTOCOL) {
        return Err(SessionError::Lacks("one of the protocol features MQ and REPLY_ACK"));
    }
    server.set_protocol_features(PROTOCOL).map_err(refused("use protocol features"))?;
    server.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    let queues = server.get_queue_num().map_err(refused("say how many queues it serves"))?;
    match usize::try_from(queues) {
        Ok(count) if count >= QUEUE_SIZES.len() => Ok(features),
        _ => Err(SessionError::Queues(queues)),
    }
}

fn start_ring(
    server: &mut Frontend,
    memory: &GuestMemory,
    index: usize,
    queue: &Queue,
    signals: &Signals,
) -> Result<(), SessionError> {
    let addresses = ring_addresses(memory, queue).ok_or(SessionError::Ring(index))?;
    server.set_vring_num(index, queue.size()).map_err(refused("size a ring"))?;
    server.set_vring_base(index, 0).map_err(refused("place a ring"))?;
    server.set_vring_addr(index, &addresses).map_err(refused("place a ring"))?;
    server.set_vring_call(index, &signals.call).map_err(refused("take a ring's call event"))?;
    server.set_vring_err(index, &signals.error).map_err(refused("take a ring's error event"))?;
    server.set_vring_kick(index, queue.kick()).map_err(refused("take a ring's kick event"))?;
    server.set_vring_enable(index, true).map_err(refused("enable a ring"))
}

/// Rings are named by their addresses in this process, which the server finds in the table of memory.
fn ring_addresses(memory: &GuestMemory, queue: &Queue) -> Option<VringConfigData> {
    let here = |address| memory.get_host_address(GuestAddress(address)).ok().map(|start| start as u64);
    let Addresses { desc, driver, device } = queue.addresses();
    Some(VringConfigData {
        queue_max_size: queue.size(),
        queue_size: queue.size(),
        flags: 0,
        desc_table_addr: here(desc)?,
        used_ring_addr: here(device)?,
        avail_ring_addr: here(driver)?,
        log_addr: None,
    })
}

/// Tells a server that is gone from one that cannot do what it was asked.
fn refused(action: &'static str) -> impl FnOnce(vhost::Error) -> SessionError {
    move |source| match source {
        vhost::Error::VhostUserProtocol(
            ProtocolError::Disconnected | ProtocolError::PartialMessage | ProtocolError::SocketBroken(_),
        ) => SessionError::Ended,
        source => SessionError::Refused { action, source },
    }
}
