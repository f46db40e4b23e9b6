//! How many descriptors the process may have open.
//!
//! The limit that most sessions give is 1024, for programs that use select(2). Those that hull starts get it
//! as it was: a container's limit is not to depend on how many ports another publishes.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

static INHERITED: OnceLock<(u64, u64)> = OnceLock::new();

/// Makes room for `count`, as far as the hard limit goes. What exceeds it fails where it is opened.
pub fn allow(count: u64) {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < count
    {
        INHERITED.get_or_init(|| (soft, hard));
        let _ = setrlimit(Resource::RLIMIT_NOFILE, count.min(hard), hard);
    }
}

/// The limit before it was raised (soft, hard), for programs that are started; none if it was not.
pub fn inherited() -> Option<(u64, u64)> {
    INHERITED.get().copied()
}
