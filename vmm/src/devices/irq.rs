//! The one way in which a device asks for the guest's attention.

/// An edge-triggered interrupt line.
///
/// Shared between a device's front end and its worker. A guest decides where the edge goes, and
/// whether it goes anywhere; that is never the device's business, so nothing is returned.
pub trait IrqLine: Send + Sync {
    /// Sends one edge.
    fn trigger(&self);
}
