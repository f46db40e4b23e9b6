//! Cases in which the isolation mode makes no difference: they run in namespace mode only.

mod against_docker;
mod commands;
mod inspected;
mod plugin;
mod refused;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// hull and dockerd find the same plugins: what dockerd prunes is not to be the volumes of another case.
fn alone_with_plugins() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
