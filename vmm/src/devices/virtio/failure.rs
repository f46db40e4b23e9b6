//! How a device tells its machine that the host side of it is broken.

use std::io;
use std::sync::{Arc, OnceLock};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::lifecycle::ExitCause;

/// Shared by the machine and all its devices; cheap to clone.
///
/// Only for failures of the host (no thread, no descriptor). What a guest breaks is the guest's to
/// repair: see DEVICE_NEEDS_RESET in [`super::interrupt`].
#[derive(Clone)]
pub struct Failure(Arc<Inner>);

struct Inner {
    event: EventFd,
    first: OnceLock<ExitCause>,
}

impl Failure {
    pub fn new() -> io::Result<Self> {
        let event = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        Ok(Self(Arc::new(Inner { event, first: OnceLock::new() })))
    }

    /// Readable once something failed.
    pub fn event(&self) -> &EventFd {
        &self.0.event
    }

    /// What failed first.
    pub fn cause(&self) -> Option<&ExitCause> {
        self.0.first.get()
    }

    /// Keeps the first cause and wakes who waits for the event.
    pub(crate) fn report(&self, cause: ExitCause) {
        // A later failure is most likely a consequence of the first.
        let _ = self.0.first.set(cause);
        // Fails only when the counter is full: then the event is readable already.
        let _ = self.0.event.write(1);
    }
}
