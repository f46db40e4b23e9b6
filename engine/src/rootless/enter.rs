//! Into the user's user namespace, which is made where nobody holds it.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, getgid, getuid, setresgid, setresuid};

use super::ids::{self, IdMap};
use super::lock::{self, NamespaceFile, heard, say};
use super::{RootlessError, hold, program};
use crate::sandbox::{Spawn, cgroup};

/// Name of the file in the run folder.
const FILE: &str = "user";
/// Times that a namespace is looked for whose holder is killed again and again.
const ATTEMPTS: usize = 8;

/// Makes this process, which must have a single thread (setns(2)), root of the user's namespace. For root
/// there is nothing to do.
pub fn enter(run: &Path) -> Result<(), RootlessError> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    lock::ensure_folder(run)?;
    let file = NamespaceFile::open(run, FILE)?;
    file.join()?;
    for _ in 0..ATTEMPTS {
        // One whose holder was killed is still the network's that it has.
        let network = || NamespaceFile::open(run, hold::NETWORK)?.holder_process();
        let Some((_, holder)) = file.holder_process()?.map_or_else(network, |holder| Ok(Some(holder)))?
        else {
            make(run)?;
            continue;
        };
        match setns(holder, CloneFlags::CLONE_NEWUSER) {
            // It was killed just now.
            Err(nix::errno::Errno::ESRCH) => continue,
            other => other.map_err(RootlessError::system("enter the user namespace"))?,
        }
        become_root()?;
        lock::keep_membership(file);
        return Ok(());
    }
    Err(RootlessError::Holder(FILE, "again and again".to_owned()))
}

/// A mount namespace of its own, for who makes mounts, in a user namespace: the one it is in belongs to the
/// machine's.
pub fn own_mounts() -> Result<(), RootlessError> {
    if !super::in_user_namespace() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS).map_err(RootlessError::system("make a mount namespace"))
}

fn become_root() -> Result<(), RootlessError> {
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    // The supplementary groups stay: /dev/kvm may be open to one of them.
    setresgid(gid, gid, gid)
        .and_then(|()| setresuid(uid, uid, uid))
        .map_err(RootlessError::system("become root of the user namespace"))
}

/// Makes the namespace and leaves a process behind that holds it.
fn make(run: &Path) -> Result<(), RootlessError> {
    let _alone = lock::alone(run, "enter.lock")?;
    // Locks of this description are the holder's alone.
    let file = NamespaceFile::open(run, FILE)?;
    if file.holder()?.is_some() {
        return Ok(());
    }
    let (ours, theirs) = UnixStream::pair().map_err(RootlessError::system("make a socket pair"))?;
    // SAFETY: the process has a single thread, so no lock is held in the child.
    match unsafe { fork() }.map_err(RootlessError::system("fork"))? {
        ForkResult::Child => {
            drop(ours);
            let code = i32::from(found(&file, &theirs).is_err());
            // SAFETY: _exit(2) is always sound; nothing of the parent's is to be flushed or dropped twice.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            let mapped = found_by(child, &ours);
            drop(ours);
            let _ = waitpid(child, None);
            mapped
        }
    }
}

/// The child's side: into the new namespace, and once its ids are mapped on to the holder.
fn found(file: &NamespaceFile, parent: &UnixStream) -> Result<(), RootlessError> {
    if unshare(CloneFlags::CLONE_NEWUSER).is_err() {
        return Err(RootlessError::Refused(io::Error::last_os_error()));
    }
    if !say(parent.as_fd()) || !heard(parent.as_fd()) {
        return Err(RootlessError::Holder(FILE, "its parent has ended".to_owned()));
    }
    become_root()?;
    let program = File::open("/proc/self/exe").map_err(RootlessError::system("open hull itself"))?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(RootlessError::system("open /dev/null"))?;
    // Where that cannot be it goes with its maker's session, as containers then do, too.
    let group = cgroup::supervisors().ok().flatten();
    let args = ["hull", hold::COMMAND, hold::USER].map(|word| CString::new(word).unwrap_or_default());
    Spawn {
        program: program.as_fd(),
        args: &args,
        null: null.as_fd(),
        stderr: null.as_fd(),
        handed: &[file.as_fd(), parent.as_fd()],
        cgroup: group.as_ref().map(AsFd::as_fd),
    }
    .start()
    .map(drop)
    .map_err(RootlessError::system("start the namespace's holder"))
}

/// The parent's side: maps ids and waits until the namespace is held.
fn found_by(child: Pid, channel: &UnixStream) -> Result<(), RootlessError> {
    if !heard(channel.as_fd()) {
        return Err(RootlessError::Refused(io::ErrorKind::PermissionDenied.into()));
    }
    map(child)?;
    if say(channel.as_fd()) && heard(channel.as_fd()) {
        return Ok(());
    }
    Err(RootlessError::Holder(FILE, "before it was there".to_owned()))
}

fn map(child: Pid) -> Result<(), RootlessError> {
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    let name = ids::name_of(user, Path::new("/etc/passwd"));
    let wanted = |own, file: &'static str| IdMap::wanted(own, user, name.as_deref(), Path::new(file));
    let (uids, gids) = (wanted(user, "/etc/subuid"), wanted(group, "/etc/subgid"));
    let (newuidmap, newgidmap) = (program::find("newuidmap"), program::find("newgidmap"));
    match (newuidmap, newgidmap) {
        (Some(newuidmap), Some(newgidmap)) if !uids.is_single() && !gids.is_single() => {
            map_by(&newuidmap, child, &uids, "/etc/subuid")?;
            map_by(&newgidmap, child, &gids, "/etc/subgid")
        }
        _ => map_own(child, user, group),
    }
}

fn map_by(program: &Path, child: Pid, map: &IdMap, file: &'static str) -> Result<(), RootlessError> {
    let output = Command::new(program).arg(child.to_string()).args(map.words()).stdin(Stdio::null()).output();
    let said = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
        Err(error) => format!("{}: {error}", program.display()),
    };
    Err(RootlessError::Map { file, said })
}

/// user_namespaces(7): without privileges outside, a gid map needs setgroups(2) denied first.
fn map_own(child: Pid, user: u32, group: u32) -> Result<(), RootlessError> {
    let lines = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ];
    for (name, text) in lines {
        let path = format!("/proc/{child}/{name}");
        fs::write(&path, text).map_err(RootlessError::file("write", path))?;
    }
    Ok(())
}
