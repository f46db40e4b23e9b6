//! What only a virtual machine can show. Listed for vm mode alone, so that no case has to pass by
//! doing nothing.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::sync::{Mutex, MutexGuard};

mod guest;
mod jail;
mod limits;
mod memory;
mod network;
mod slots;

/// Cases that look at hull-vmm's processes take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
