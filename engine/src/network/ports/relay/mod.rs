//! Carries what arrives at a sandbox's ports of the host to the sandbox, and the answers back.
//!
//! One thread without privileges and one epoll set for all ports of a sandbox. Every byte is hostile and none
//! is looked at: what is bounded is how many connections there are, how long one may take to come about, and
//! how much is held of data that its receiver does not take.

mod event_loop;
mod slab;
mod tcp;
mod udp;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::bind::Bound;
use crate::descriptors;
use event_loop::EventLoop;

/// Descriptors that the relay takes at most.
const DESCRIPTORS: usize = 2 * tcp::MOST + udp::MOST;

/// What a thread is to do: see [`Bound::relay`].
pub type Work = Box<dyn FnOnce() + Send>;

/// The sandbox's addresses, which may change when it is connected to another network.
#[derive(Debug, Default)]
struct Targets {
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
}

/// A relay that runs. Its end is the end of all connections, and the ports are free then.
#[derive(Debug)]
pub struct Relay {
    stop: Arc<EventFd>,
    targets: Arc<Mutex<Targets>>,
    thread: Option<JoinHandle<()>>,
}

impl Bound {
    /// Relays to these addresses. `start` runs the work in a thread that is in the network namespace of the
    /// sandbox's networks and has no privileges; the ports' own sockets are not bound to it.
    pub fn relay(
        self,
        ipv4: Option<Ipv4Addr>,
        ipv6: Option<Ipv6Addr>,
        start: impl FnOnce(Work) -> Option<JoinHandle<()>>,
    ) -> io::Result<Relay> {
        let room = self.ports.len() + DESCRIPTORS + super::bind::OTHER_DESCRIPTORS;
        descriptors::allow(u64::try_from(room).unwrap_or(u64::MAX));
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let targets = Arc::new(Mutex::new(Targets { ipv4, ipv6 }));
        let mut relay = EventLoop::new(self.ports, Arc::clone(&stop), Arc::clone(&targets))?;
        let thread = start(Box::new(move || {
            if let Err(error) = relay.run() {
                eprintln!("Published ports are relayed no longer: {error}");
            }
        }));
        let thread = Some(thread.ok_or_else(|| io::Error::other("no thread for published ports"))?);
        Ok(Relay { stop, targets, thread })
    }
}

impl Relay {
    /// Where new connections go from now on.
    pub fn aim(&self, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) {
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = Targets { ipv4, ipv6 };
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Nobody else writes: there is room for a 1.
        let _ = nix::unistd::write(self.stop.as_fd(), &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
