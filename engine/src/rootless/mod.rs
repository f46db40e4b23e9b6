//! hull for an ordinary user.
//!
//! All of a user's hull processes are in one user namespace, in which that user is root
//! (user_namespaces(7)). It has the user's own id and, where `/etc/subuid` and `/etc/subgid` give any and
//! newuidmap(1) is there, as many further ones. They stay in the host's network namespace; bridges and the
//! like are in another one that belongs to the user namespace ([`network`]).
//!
//! ```text
//!  hull run ──joins──► user namespace ◄── hull hold user      lives while anybody has <run>/user locked
//!    └─ hull supervise      │
//!         └─ hull-init      └─ network namespace ◄── hull hold network ── pasta     likewise, <run>/network
//! ```
//!
//! No pid file decides who holds a namespace. The holder has a record lock (fcntl(2)) on the file, and the
//! kernel tells whose it is; who uses the namespace has it locked by flock(2), for which the holder waits
//! with an exclusive one. What was killed in whatever way holds nothing.

mod enter;
pub mod facts;
pub mod hold;
pub mod ids;
mod lock;
pub mod network;
mod program;

use std::io;
use std::path::PathBuf;

pub use enter::{enter, own_mounts};
pub use hold::COMMAND as HOLD;
pub use lock::membership;
pub use network::network_namespace;

#[derive(Debug, thiserror::Error)]
pub enum RootlessError {
    #[error("Failed to {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("Failed to {what}")]
    System { what: &'static str, source: io::Error },
    #[error(
        "{} is not a folder of this user's alone; it would hold hull's sockets, since XDG_RUNTIME_DIR is not set",
        .0.display()
    )]
    Folder(PathBuf),
    #[error(
        "hull without root needs user namespaces, and this host refuses to make one (look at \
         /proc/sys/user/max_user_namespaces, /proc/sys/kernel/unprivileged_userns_clone and \
         /proc/sys/kernel/apparmor_restrict_unprivileged_userns)"
    )]
    Refused(#[source] io::Error),
    #[error("Failed to map the ids of {file}: {said}")]
    Map { file: &'static str, said: String },
    #[error("The process that was to hold the {0} namespace ended: {1}")]
    Holder(&'static str, String),
    #[error(
        "Networks without root need pasta, which is not here (package passt); --network none does without"
    )]
    NoPasta,
}

impl RootlessError {
    fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> RootlessError {
        let path = path.into();
        move |source| RootlessError::File { what, path, source }
    }

    fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> RootlessError {
        move |source| RootlessError::System { what, source: source.into() }
    }
}

/// Whether this process is in a user namespace and not in the machine's own: whoever made it, the kernel
/// mounts no EROFS there, makes no device nodes and loads no device filters.
pub fn in_user_namespace() -> bool {
    use std::sync::OnceLock;
    static ANSWER: OnceLock<bool> = OnceLock::new();
    // Entering one comes before anybody asks.
    *ANSWER.get_or_init(|| !ids::IdMap::of_users().is_everything())
}
