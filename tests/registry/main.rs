//! Images and registries: real servers, real clients. No isolation mode matters here, so it runs once, in
//! namespace mode where a container runs at all.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod handling;
mod login;
mod platforms;
mod pull;
mod push;
mod save;
mod secure;
