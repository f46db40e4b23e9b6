//! Leaving the host's namespaces, into a user namespace with the same ids.
//!
//! Each id of the namespace outside is mapped onto itself: a file belongs to the same user on both sides, and no
//! capability counts outside. Such a map may only be written by a process outside (user_namespaces(7)).

use std::fs;
use std::io::{self, Read, Write};
use std::process;

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, chdir, waitpid};
use rustix::thread::{
    Gid, Uid, UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
};

#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    #[error("Failed to read {path}")]
    Read { path: &'static str, source: io::Error },
    #[error("Failed to start the process that maps the users")]
    Mapper(#[source] io::Error),
    #[error("Failed to leave the host's namespaces; are user namespaces forbidden on this host?")]
    Unshare(#[source] Errno),
    #[error("Failed to map the users of the namespace outside onto themselves")]
    Map(#[source] io::Error),
    #[error("Failed to {action}")]
    Step { action: &'static str, source: Errno },
}

const MAPS: [&str; 2] = ["uid_map", "gid_map"];

/// The next child is the first process of the new PID namespace. Needs a single thread.
pub fn leave() -> Result<(), NamespaceError> {
    let maps = [read("/proc/self/uid_map")?, read("/proc/self/gid_map")?];
    let mapper = Mapper::start(maps).map_err(NamespaceError::Mapper)?;
    let flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    // SAFETY: the descriptor table stays shared with nobody: CLONE_FILES is not among the flags.
    unsafe { unshare_unsafe(flags) }.map_err(NamespaceError::Unshare)?;
    mapper.map().map_err(NamespaceError::Map)?;
    let step = |action| move |source| NamespaceError::Step { action, source };
    match set_thread_groups(&[]) {
        // Denied for good in the namespace outside; then the groups mean nothing here either.
        Err(Errno::PERM) => {}
        result => result.map_err(step("drop supplementary groups"))?,
    }
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).map_err(step("become group 0"))?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(step("become user 0"))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(step("make mounts private"))?;
    chdir("/").map_err(step("change to the root"))
}

fn read(path: &'static str) -> Result<String, NamespaceError> {
    let map = fs::read_to_string(path).map_err(|source| NamespaceError::Read { path, source })?;
    Ok(onto_itself(&map))
}

/// The map of a namespace inside that has all ids of the one this map is of.
fn onto_itself(map: &str) -> String {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (inside, count) = (words.next()?, words.nth(1)?);
        Some(format!("{inside} {inside} {count}\n"))
    };
    map.lines().filter_map(line).collect()
}

/// A child that stays outside and writes the maps.
struct Mapper {
    pid: Pid,
    go: io::PipeWriter,
}

impl Mapper {
    fn start(maps: [String; 2]) -> io::Result<Mapper> {
        let (gone, go) = pipe_with(PipeFlags::CLOEXEC)?;
        let (gone, go) = (io::PipeReader::from(gone), io::PipeWriter::from(go));
        // SAFETY: this process has a single thread.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(go);
                // An errno fits into an exit code.
                process::exit(match write(gone, &maps) {
                    Ok(()) => 0,
                    Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
                })
            }
            pid => {
                let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::from(Errno::SRCH))?;
                Ok(Mapper { pid, go })
            }
        }
    }

    /// Has the maps written; this process is in the new user namespace.
    fn map(mut self) -> io::Result<()> {
        self.go.write_all(b".")?;
        let status = loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                result => break result?,
            }
        };
        match status.and_then(|(_, status)| status.exit_status()) {
            Some(0) => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Err(io::Error::other("the process that maps the users was killed")),
        }
    }
}

/// Waits until the parent is in its namespace, or gone.
fn write(mut gone: io::PipeReader, maps: &[String; 2]) -> io::Result<()> {
    let mut byte = [0];
    if gone.read(&mut byte)? == 0 {
        return Ok(());
    }
    let parent = rustix::process::getppid().ok_or_else(|| io::Error::from(Errno::SRCH))?;
    for (file, map) in MAPS.into_iter().zip(maps) {
        fs::write(format!("/proc/{parent}/{file}"), map)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_is_mapped_onto_itself() {
        assert_eq!(onto_itself("         0          0 4294967295\n"), "0 0 4294967295\n");
        let rootless = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(onto_itself(rootless), "0 0 1\n1 1 65536\n");
    }
}
