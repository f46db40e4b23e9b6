//! Where hull keeps things, and where its own parts are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The store's root: `/var/lib/hull`, without root `$XDG_DATA_HOME/hull`.
pub fn default_root() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/hull");
    }
    xdg("XDG_DATA_HOME", ".local/share").join("hull")
}

/// The folder of what lives only as long as this boot: `/run/hull`, without root
/// `$XDG_RUNTIME_DIR/hull`.
pub fn default_run() -> PathBuf {
    let uid = nix::unistd::geteuid();
    if uid.is_root() {
        return PathBuf::from("/run/hull");
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("hull"),
        _ => PathBuf::from(format!("/tmp/hull-{uid}")),
    }
}

/// An XDG base folder, or its default below HOME.
pub fn xdg(variable: &str, below_home: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| OsString::from("/"))).join(below_home),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{name} is not beside hull ({}) nor in its lib folder ({}); `make` builds it, `make install` installs it", dir.display(), lib.display())]
pub struct NotFound {
    name: &'static str,
    dir: PathBuf,
    lib: PathBuf,
}

/// Finds `hull-vmm`, `hull-init` or `vmlinux`: beside the hull binary, or in `../lib/hull` of it.
pub fn part(name: &'static str) -> Result<PathBuf, NotFound> {
    let exe = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/hull"));
    let dir = exe.parent().unwrap_or(Path::new("/")).to_path_buf();
    let lib = dir.join("../lib/hull");
    for candidate in [dir.join(name), lib.join(name)] {
        if candidate.exists() {
            return Ok(candidate);
        }
    }
    Err(NotFound { name, dir, lib })
}
