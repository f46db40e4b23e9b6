//! Networks, in both isolation modes: each case on a host of its own, see [`hull_tests::net::Host`].
//!
//! `tests/run` starts it where /etc/resolv.conf names the DNS server that these hosts have.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod bridge;
mod egress;
mod hostile;
mod hot;
mod ipv6;
mod isolation;
mod killed;
mod names;
mod once;
mod ports;
mod services;
mod shared;
