//! The one way in which a device asks for the guest's attention.

use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

/// An edge-triggered interrupt line.
///
/// Shared between a device's front end and its worker. A guest decides where the edge goes, and
/// whether it goes anywhere; that is never the device's business, so nothing is returned.
pub trait IrqLine: Send + Sync {
    /// Sends one edge.
    fn trigger(&self);

    /// For a line that can be triggered by somebody outside of this process.
    fn wiring(&self) -> Option<&dyn Wiring> {
        None
    }
}

/// A line that an event can be soldered to.
pub trait Wiring {
    /// From now on each signal of `event` is an edge, without a thread of this process in between. False if
    /// the host refuses. Not twice without [`Wiring::unwire`].
    fn wire(&self, event: Arc<EventFd>) -> bool;

    /// What was signalled is left in the event.
    fn unwire(&self);
}
