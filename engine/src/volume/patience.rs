//! How long somebody waits for a volume that others are busy with.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::VolumeError;
use crate::store::files::{SLICE, within};

/// A start's, for who may not want it any more while it goes on.
#[derive(Debug, Clone, Default)]
pub struct CallOff(Arc<(Mutex<bool>, Condvar)>);

impl CallOff {
    /// Whatever has been mounted for the start when this returns is the caller's to unmount; what is mounted later is
    /// unmounted again by whoever does it.
    pub fn call_off(&self) {
        let (is_off, changed) = &*self.0;
        *is_off.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    pub fn is_off(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause(&self) {
        let (is_off, changed) = &*self.0;
        let is_off = is_off.lock().unwrap_or_else(PoisonError::into_inner);
        let paused = changed.wait_timeout_while(is_off, SLICE, |is_off| !*is_off);
        drop(paused.unwrap_or_else(PoisonError::into_inner));
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Patience<'a> {
    Limited(Duration),
    /// As long as the others take: there is somebody who may call it off.
    UntilOff(&'a CallOff),
}

impl Patience<'_> {
    /// A command's: longer than a file server takes to be mounted.
    pub const COMMAND: Self = Self::Limited(Duration::from_secs(60));
    /// Of who only takes back: those who are busy for longer hang in a plugin or in a file server.
    pub const BRIEF: Self = Self::Limited(Duration::from_millis(500));

    pub fn is_off(self) -> bool {
        matches!(self, Self::UntilOff(start) if start.is_off())
    }
}

/// Tries until it works.
pub fn wait<L, E: Into<VolumeError>>(
    name: &str,
    patience: Patience<'_>,
    attempt: impl Fn() -> Result<Option<L>, E>,
) -> Result<L, VolumeError> {
    let start = match patience {
        Patience::Limited(limit) => {
            let lock = within(limit, attempt).map_err(Into::into)?;
            return lock.ok_or_else(|| VolumeError::Busy { name: name.to_owned() });
        }
        Patience::UntilOff(start) => start,
    };
    while !start.is_off() {
        if let Some(lock) = attempt().map_err(Into::into)? {
            return Ok(lock);
        }
        start.pause();
    }
    Err(VolumeError::CalledOff { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_start_waits_until_it_is_called_off_and_others_as_long_as_they_may() {
        let never = || Ok::<Option<()>, VolumeError>(None);
        let brief = wait("web", Patience::Limited(Duration::from_millis(50)), never);
        assert!(matches!(brief, Err(VolumeError::Busy { .. })));
        let start = CallOff::default();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| wait("web", Patience::UntilOff(&start), never));
            thread::sleep(Duration::from_millis(100));
            assert!(!waiting.is_finished());
            start.call_off();
            assert!(matches!(waiting.join().unwrap(), Err(VolumeError::CalledOff { .. })));
        });
        let at_once = wait("web", Patience::UntilOff(&CallOff::default()), || Ok::<_, VolumeError>(Some(1)));
        assert_eq!(at_once.unwrap(), 1);
    }
}
