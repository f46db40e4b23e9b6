//! The real hull-fs, spoken to by a guest that is made by hand: no machine is needed, and it may be hostile.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;
mod fuse;
mod machine;

mod files;
