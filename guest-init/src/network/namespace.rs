//! Into a network namespace.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, unshare_unsafe};

use crate::error::{Step, StepError};

/// The one that the caller is in.
pub fn own() -> Result<OwnedFd, StepError> {
    let path = "/proc/thread-self/ns/net";
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step(format_args!("open {path}"))
}

pub fn make() -> Result<(), StepError> {
    // SAFETY: NEWNET touches neither descriptors nor memory.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.step("make a network namespace")
}

pub fn enter(namespace: OwnedFd) -> Result<(), StepError> {
    move_into_thread_name_spaces(namespace.as_fd(), ThreadNameSpaceType::NETWORK)
        .step("enter the sandbox's network namespace")
}
