//! Layers and merged roots as the kernel sees them: mounted in every way there is, checked by
//! `fsck.erofs`, and compared file by file with what `umoci` unpacks of the same image.
//!
//! Needs root, a kernel with EROFS, and the packages umoci, erofs-utils and mount. Without root the
//! tests say that they did nothing.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

mod image;
mod large;
mod mounts;
mod snapshot;
mod umoci;

use std::path::Path;
use std::process::Command;

use hull_engine::store::Store;
use tempfile::TempDir;

/// Whether file systems may be mounted here.
fn may_mount() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if root {
        // Where EROFS is a module.
        let _ = Command::new("modprobe").args(["-q", "-a", "erofs", "loop"]).status();
    }
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let ready = root && filesystems.contains("\terofs");
    if !ready {
        eprintln!("skipped: needs root and a kernel with EROFS");
    }
    ready
}

/// A store in a folder that goes with it.
fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("lib"), &folder.path().join("run")).unwrap();
    (folder, store)
}

/// Runs a command that must succeed; what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error} (packages umoci, erofs-utils, mount)"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
