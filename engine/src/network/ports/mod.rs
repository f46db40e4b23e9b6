//! Ports of a sandbox that others reach by an address of the host.

pub mod parse;
