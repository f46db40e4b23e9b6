//! What a program may expect of a file system, tried from inside of a container by `hull-files`.
//!
//! What POSIX says of single calls is `pjdfstest`'s; here is what takes two descriptors, two processes, memory or
//! Linux: see `man 2` and `man 7` of each name.

pub mod bytes;
pub mod handles;
pub mod model;
pub mod names;
pub mod sharing;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A check has a folder of its own, and says in words what is not as it should be.
pub type Check = fn(&Path) -> io::Result<()>;

/// All checks by name.
pub fn checks() -> impl Iterator<Item = (&'static str, Check)> {
    [names::CHECKS, bytes::CHECKS, sharing::CHECKS].concat().into_iter()
}

/// Runs all of them but some below a folder; a line each that failed. What they made is removed.
pub fn run(below: &Path, without: &[&str]) -> io::Result<Vec<String>> {
    let unknown = without.iter().filter(|name| checks().all(|(known, _)| known != **name));
    let mut failed: Vec<String> = unknown.map(|name| format!("{name}: there is no such check")).collect();
    for (name, check) in checks().filter(|(name, _)| !without.contains(name)) {
        let folder = below.join(format!("check-{name}"));
        fs::create_dir(&folder)?;
        if let Err(error) = check(&folder) {
            failed.push(format!("{name}: {error}"));
        }
        fs::remove_dir_all(&folder)?;
    }
    Ok(failed)
}

/// An error unless what was found is what is wanted.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> io::Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(io::Error::other(format!("{what} is {found:?}, not {wanted:?}")))
}

/// An error unless the call failed with that number.
pub(crate) fn refused<T>(what: &str, result: io::Result<T>, errno: i32) -> io::Result<()> {
    match result {
        Ok(_) => Err(io::Error::other(format!("{what} is not refused"))),
        Err(error) => same(what, error.raw_os_error(), Some(errno)),
    }
}

/// A file of a check's folder for reading and writing, made if it is missing.
pub(crate) fn opened(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Two names in the folder.
pub(crate) fn pair(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("one"), folder.join("two"))
}

/// Runs a part in a child, whose exit code is zero if it went well.
pub(crate) fn in_child(part: impl FnOnce() -> io::Result<()>) -> io::Result<nix::unistd::Pid> {
    // SAFETY: the program has one thread, so the child may do what its parent may.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(child),
        nix::unistd::ForkResult::Child => std::process::exit(i32::from(part().is_err())),
    }
}

/// Waits for such a child.
pub(crate) fn ended_well(child: nix::unistd::Pid) -> io::Result<()> {
    let status = nix::sys::wait::waitpid(child, None)?;
    same("the child's end", status, nix::sys::wait::WaitStatus::Exited(child, 0))
}
