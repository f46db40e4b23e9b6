//! Where things are: the binaries under test, the prepared store, the image archives.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;

/// Where the containers of this run of the suite live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    Vm,
    Namespace,
}

impl Isolation {
    /// As `--isolation` takes it.
    pub fn word(self) -> &'static str {
        match self {
            Isolation::Vm => "vm",
            Isolation::Namespace => "namespace",
        }
    }
}

/// The mode under test: `HULL_TEST_ISOLATION`, which is always set, so that nobody tests by accident
/// what a default made of it.
pub fn isolation() -> Isolation {
    match std::env::var("HULL_TEST_ISOLATION").as_deref() {
        Ok("vm") => Isolation::Vm,
        Ok("namespace") => Isolation::Namespace,
        other => panic!("HULL_TEST_ISOLATION must be vm or namespace, is {other:?}; use tests/run"),
    }
}

/// Folder of the binaries: `HULL_BUILD`, else `build/` of this checkout.
pub fn binary(name: &str) -> PathBuf {
    let build = match std::env::var_os("HULL_BUILD") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../build"),
    };
    build.join(name)
}

/// What `tests/run` prepared: `HULL_TEST_DIR`.
fn prepared() -> PathBuf {
    PathBuf::from(std::env::var_os("HULL_TEST_DIR").expect("HULL_TEST_DIR is not set; use tests/run"))
}

/// The store that holds the test images and that most cases share.
pub fn shared_root() -> PathBuf {
    prepared().join("root")
}

/// The run folder of that store, its own: whoever sweeps a run folder takes what his store does not know for
/// an orphan. Short, since socket paths have 107 bytes (unix(7)).
pub fn shared_run() -> PathBuf {
    let mut hasher = std::hash::DefaultHasher::new();
    prepared().hash(&mut hasher);
    PathBuf::from(format!("/run/hull-e2e-{:08x}", hasher.finish() & 0xffff_ffff))
}

/// For files of a case, on the file system of the store.
pub fn temporary() -> PathBuf {
    prepared().join("tmp")
}

/// An archive or folder that `tests/run images` made, such as `busybox.tar`.
pub fn image(name: &str) -> PathBuf {
    prepared().join("images").join(name)
}

/// An empty config file, so that the machine's own counts for nothing.
pub fn no_config() -> PathBuf {
    prepared().join("empty.toml")
}

/// The shared store's database as it was when it had nothing but images.
pub fn images_database() -> PathBuf {
    prepared().join("images-database")
}

/// The program that sends frames of hand, see [`crate::net::frames`].
pub fn frames_program() -> PathBuf {
    prepared().join("hull-frames")
}

/// The program that prints a tree of files, see [`crate::listing`].
pub fn listing_program() -> PathBuf {
    prepared().join("hull-list")
}

/// A static program for the inside of containers, such as `hull-files`.
pub fn prepared_program(name: &str) -> PathBuf {
    prepared().join(name)
}

/// Whether this is the KVM test host, in which a second of work is many.
pub fn emulated() -> bool {
    std::env::var_os("HULL_KVM_HOST").is_some_and(|value| !value.is_empty())
}

/// Seconds that one `hull` may take before the case gives up: the KVM test host is emulated.
pub fn patience() -> std::time::Duration {
    let seconds = std::env::var("HULL_TEST_PATIENCE").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    std::time::Duration::from_secs(seconds)
}

/// How long an answer over a network is waited for, where one is to come: from the KVM test host's guests it
/// takes seconds.
pub fn answered_within() -> std::time::Duration {
    (patience() / 12).max(std::time::Duration::from_secs(5))
}
