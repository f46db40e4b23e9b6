//! What the end-to-end tests share.
//!
//! A case drives the `hull` binary as a user does and looks only at what a user sees. It is written
//! once; which isolation mode it runs in comes from `HULL_TEST_ISOLATION`, and nothing but the cases
//! of `vm_only` may ask. `tests/run` builds the binaries and the images and prepares [`paths`].

#![allow(clippy::unwrap_used, reason = "a fixture that cannot go on fails its test")]

pub mod archive;
pub mod background;
pub mod command;
pub mod container;
pub mod cpio;
pub mod dockerd;
pub mod files;
pub mod listing;
pub mod logged_disk;
pub mod net;
pub mod ordinary;
pub mod paths;
pub mod plugin;
pub mod pod;
pub mod proxy;
pub mod pty;
pub mod registry;
pub mod store;
pub mod token_server;
pub mod traces;
pub mod world;

pub use background::{Background, eventually};
pub use command::{Hull, Output, Running, hull, run};
pub use container::Container;
pub use dockerd::Dockerd;
pub use ordinary::User;
pub use paths::{Isolation, isolation};
pub use plugin::Plugin;
pub use pod::Pod;
pub use proxy::Proxy;
pub use pty::Terminal;
pub use registry::Registry;
pub use store::Store;
pub use traces::Traces;
pub use world::World;

/// Debian's busybox-static, every applet a hard link.
pub const BUSYBOX: &str = "busybox";
/// A Debian made by mmdebstrap.
pub const DEBIAN: &str = "debian:bookworm";
/// That Debian and python3 in a second layer.
pub const PYTHON: &str = "python:3";
/// That Debian with nginx, PostgreSQL, Redis and their clients.
pub const SERVICES: &str = "services";
/// That Debian with a compiler, git, npm and fio.
pub const TOOLS: &str = "tools";
/// Seven layers with everything that layers can do.
pub const LAYERS: &str = "layers";

/// A name that no other case, and no other run of this case, has.
pub fn unique(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
