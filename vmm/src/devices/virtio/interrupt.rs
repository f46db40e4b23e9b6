//! The device's voice: interrupt status, interrupt line, DEVICE_NEEDS_RESET.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use vmm_sys_util::eventfd::EventFd;

use crate::devices::irq::IrqLine;

/// InterruptStatus bits (VirtIO 1.2, 4.2.2).
const USED_BUFFER: u32 = 1 << 0;
const CONFIG_CHANGE: u32 = 1 << 1;

/// Shared by a device's transport, its worker and, for slots, whoever fills them.
#[derive(Clone)]
pub struct Interrupt(Arc<Shared>);

struct Shared {
    pending: AtomicU32,
    /// DRIVER_OK is set: before that a device must stay silent (VirtIO 1.2, 3.1.1).
    live: AtomicBool,
    broken: AtomicBool,
    /// Somebody else triggers the line for used buffers, and cannot set the bit.
    wired: AtomicBool,
    line: Arc<dyn IrqLine>,
}

impl Interrupt {
    pub(super) fn new(line: Arc<dyn IrqLine>) -> Self {
        Self(Arc::new(Shared {
            pending: AtomicU32::new(0),
            live: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            wired: AtomicBool::new(false),
            line,
        }))
    }

    /// Buffers were used in some queue.
    pub fn used_buffer(&self) {
        self.raise(USED_BUFFER);
    }

    /// The configuration space has changed.
    pub fn config_change(&self) {
        self.raise(CONFIG_CHANGE);
    }

    /// The device cannot go on until the driver resets it: the status register shows
    /// DEVICE_NEEDS_RESET from now on, and the driver is told (VirtIO 1.2, 2.1.2).
    pub fn needs_reset(&self) {
        self.0.broken.store(true, Ordering::Release);
        self.raise(CONFIG_CHANGE);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::Acquire)
    }

    /// Has each signal of `event` mean used buffers in some queue. False: the line cannot do that, and
    /// [`Interrupt::used_buffer`] is to be called instead.
    pub(super) fn wire(&self, event: &Arc<EventFd>) -> bool {
        let Some(wiring) = self.0.line.wiring() else { return false };
        // First: the guest reads the bit as soon as an edge arrives.
        self.0.wired.store(true, Ordering::Release);
        let is_wired = wiring.wire(event.clone());
        self.0.wired.store(is_wired, Ordering::Release);
        is_wired
    }

    pub(super) fn unwire(&self) {
        if let Some(wiring) = self.0.line.wiring().filter(|_| self.0.wired.load(Ordering::Acquire)) {
            wiring.unwire();
            self.0.wired.store(false, Ordering::Release);
        }
    }

    /// The InterruptStatus register. With a wire nobody here knows whether buffers were used: drivers
    /// look into all queues then, as they must anyway.
    pub(super) fn pending(&self) -> u32 {
        let unknown = if self.0.wired.load(Ordering::Acquire) { USED_BUFFER } else { 0 };
        self.0.pending.load(Ordering::Acquire) | unknown
    }

    /// The InterruptACK register.
    pub(super) fn acknowledge(&self, bits: u32) {
        self.0.pending.fetch_and(!bits, Ordering::AcqRel);
    }

    pub(super) fn go_live(&self) {
        self.0.live.store(true, Ordering::Release);
    }

    /// Back to the state after power-on. The worker is gone by now; a slot's filler may still call.
    pub(super) fn reset(&self) {
        self.0.live.store(false, Ordering::Release);
        self.0.broken.store(false, Ordering::Release);
        self.0.pending.store(0, Ordering::Release);
    }

    fn raise(&self, bit: u32) {
        if self.0.live.load(Ordering::Acquire) {
            // The bit first: the guest reads it as soon as the edge arrives.
            self.0.pending.fetch_or(bit, Ordering::AcqRel);
            self.0.line.trigger();
        }
    }
}
