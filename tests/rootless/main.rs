//! hull as an ordinary user: `machine::` in vm mode, all else in namespace mode.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod life;
mod limits;
mod machine;
mod network;
mod users;
mod volumes;
