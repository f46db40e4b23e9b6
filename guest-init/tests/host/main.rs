//! hull-init as the agent of namespace mode, driven over its protocol: real containers from a small
//! EROFS image of busybox. Needs root, mkfs.erofs and a static busybox; says so and passes otherwise.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

mod fixture;

mod binds;
mod content;
mod control;
mod dns;
mod exec;
mod isolation;
mod lifecycle;
mod network;
mod pods;
mod process;
mod streams;
