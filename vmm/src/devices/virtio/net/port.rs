//! Where the wire is plugged in: the part of a network device that the host changes while the guest uses it.

use std::fs::File;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::tap::{Tap, TapError, Wire};
use crate::config::NetLimits;
use crate::devices::virtio::interrupt::Interrupt;
use crate::devices::virtio::throttle::{Limit, Throttle};

/// Why a device stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum PlugError {
    #[error("The network device is plugged in already")]
    Plugged,
    #[error("The network device is not plugged in")]
    NotPlugged,
    #[error(transparent)]
    Tap(#[from] TapError),
}

/// A wire in use. Fields go in this order: whoever waits for the end of the second finds the first closed.
pub(super) struct Connection {
    pub wire: Box<dyn Wire>,
    _alive: Sender<()>,
}

struct Plugged {
    connection: Arc<Connection>,
    /// Disconnected when nobody has the connection any more.
    gone: Receiver<()>,
    /// The host has taken the interface away; the wire leads nowhere.
    dead: bool,
}

#[derive(Default)]
struct Link {
    plugged: Option<Plugged>,
    /// Goes up with each change of the link.
    generation: u32,
    /// There once the device was activated for the first time.
    interrupt: Option<Interrupt>,
}

impl Link {
    fn announce(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if let Some(interrupt) = &self.interrupt {
            interrupt.config_change();
        }
    }
}

/// Shared by a device's registers, its worker and its [`NetHandle`].
pub(super) struct Port {
    link: Mutex<Link>,
    /// Outlives each activation, so that a reset pays no debts.
    throttle: Throttle,
    /// Readable when wire or limits are others than they were.
    changed: EventFd,
}

impl Port {
    pub fn new() -> io::Result<Self> {
        let changed = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        Ok(Self { link: Mutex::default(), throttle: Throttle::default(), changed })
    }

    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// Readable when the worker has to look at the port again. Call [`Port::clear_changed`] before.
    pub fn changed(&self) -> &EventFd {
        &self.changed
    }

    pub fn clear_changed(&self) {
        // Fails only when there is nothing to clear.
        let _ = self.changed.read();
    }

    pub fn is_up(&self) -> bool {
        self.link().plugged.as_ref().is_some_and(|plugged| !plugged.dead)
    }

    pub fn generation(&self) -> u32 {
        self.link().generation
    }

    /// What packets go through. None: the link is down.
    pub fn connection(&self) -> Option<Arc<Connection>> {
        let link = self.link();
        link.plugged.as_ref().filter(|plugged| !plugged.dead).map(|plugged| Arc::clone(&plugged.connection))
    }

    /// The device goes live. The driver may have read the link's state before it changed, while nobody
    /// could be told; so it is told now.
    pub fn attach(&self, interrupt: Interrupt) {
        let mut link = self.link();
        if link.generation > 0 {
            interrupt.config_change();
        }
        link.interrupt = Some(interrupt);
    }

    /// The worker has found that the wire leads nowhere. It stays plugged in, with the link down.
    pub fn lose(&self, lost: &Arc<Connection>) {
        let mut link = self.link();
        match &mut link.plugged {
            Some(plugged) if Arc::ptr_eq(&plugged.connection, lost) && !plugged.dead => plugged.dead = true,
            _ => return,
        }
        link.announce();
    }

    pub fn plug(&self, wire: Box<dyn Wire>, limits: &NetLimits) -> Result<(), PlugError> {
        let mut link = self.link();
        if link.plugged.is_some() {
            return Err(PlugError::Plugged);
        }
        let (alive, gone) = mpsc::channel();
        let connection = Arc::new(Connection { wire, _alive: alive });
        link.plugged = Some(Plugged { connection, gone, dead: false });
        self.set_limits(limits);
        // In this order: what the guest sends once it knows meets a worker that knows.
        self.notify();
        link.announce();
        Ok(())
    }

    /// When this returns the wire is closed: by the worker, if there is one.
    fn unplug(&self) -> Result<(), PlugError> {
        let mut link = self.link();
        let Plugged { connection, gone, dead } = link.plugged.take().ok_or(PlugError::NotPlugged)?;
        self.notify();
        if !dead {
            link.announce();
        }
        drop((link, connection));
        // Nothing is ever sent: the channel disconnects with the connection's end.
        let _ = gone.recv();
        Ok(())
    }

    /// A packet that waits under the limits of before is looked at again.
    fn limit(&self, limits: &NetLimits) {
        self.set_limits(limits);
        self.notify();
    }

    fn set_limits(&self, limits: &NetLimits) {
        let NetLimits { rx_bps, tx_bps, rx_pps, tx_pps } = *limits;
        let to_guest = Limit { bytes: rx_bps, operations: rx_pps };
        self.throttle.set(to_guest, Limit { bytes: tx_bps, operations: tx_pps });
    }

    fn notify(&self) {
        // Fails only when the counter is full: then the event is readable already.
        let _ = self.changed.write(1);
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Plugs a network device in and pulls it, from any thread, whether the guest's driver is up or not.
#[derive(Clone)]
pub struct NetHandle(Arc<Port>);

impl NetHandle {
    pub(super) fn new(port: Arc<Port>) -> Self {
        Self(port)
    }

    /// Connects the device to a tap, whose only reader it is from now on, with these limits instead of
    /// those that it had. The guest finds its link up.
    pub fn plug(&self, tap: File, limits: &NetLimits) -> Result<(), PlugError> {
        self.0.plug(Box::new(Tap::new(tap)?), limits)
    }

    /// Takes the device off its tap, which is closed when this returns. The guest finds its link down.
    pub fn unplug(&self) -> Result<(), PlugError> {
        self.0.unplug()
    }

    /// Holds the device to these rates from now on, with a burst to begin with. None of them is zero.
    pub fn limit(&self, limits: &NetLimits) {
        self.0.limit(limits);
    }

    pub fn is_up(&self) -> bool {
        self.0.is_up()
    }

    /// As [`NetHandle::plug`], with something else than a tap.
    #[cfg(test)]
    pub(super) fn plug_wire(&self, wire: Box<dyn Wire>, limits: &NetLimits) -> Result<(), PlugError> {
        self.0.plug(wire, limits)
    }
}
