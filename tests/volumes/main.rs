//! Binds, volumes and shared folders, in both isolation modes: each case in a [`hull_tests::World`] of its own.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod binds;
mod blocks;
mod copying;
mod drivers;
mod hostile;
mod killed;
mod memory;
mod once;
mod posix;
mod power_cut;
mod programs;
mod propagation;
mod volumes;
