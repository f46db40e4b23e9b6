//! The real hull-fs, spoken to by a guest that is made by hand: no machine is needed, and it may be hostile.
//! Needs root; says so and passes otherwise.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

mod fixture;
mod fuse;
mod machine;

mod ends;
mod files;
mod hostile;
mod owners;
mod read_only;
mod sharing;
