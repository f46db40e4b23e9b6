//! A machine with a folder shared by hull-fs, as a supervisor does it.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use hull_fs::control::Client;
use hull_vmm::config::{FileSource, FsConfig, VmConfig};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

/// Far above what hull-fs takes to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `vmm` with the machine of `config` until it ends; `server` shows it `folder` under the name `share`.
pub(crate) fn share(vmm: &str, config: &str, server: &str, folder: &str) -> anyhow::Result<String> {
    let (control, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let socket = format!("{config}.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket)?;
    let connected = UnixStream::connect(&socket)?;
    inherit([theirs.as_fd(), listener.as_fd()])?;
    let mut command = Command::new(server);
    command.args(["--control-fd", &theirs.as_raw_fd().to_string()]);
    command.args(["--listen-fd", &listener.as_raw_fd().to_string()]);
    let mut serving = command.spawn().context("Failed to start hull-fs")?;
    drop((theirs, listener));
    let client = Client::new(control, PATIENCE)?;
    client.add(&"share".parse()?, detached(Path::new(folder))?.as_fd())?;

    let mut machine: VmConfig = serde_json::from_reader(File::open(config)?)?;
    machine.fs = Some(FsConfig { tag: "hull".into(), socket: FileSource::Fd(connected.as_raw_fd()) });
    inherit([connected.as_fd()])?;
    let complete = format!("{config}.shared");
    serde_json::to_writer(File::create(&complete)?, &machine)?;
    let mut child = Command::new(vmm).arg("--config").arg(&complete).spawn().context("Failed to start")?;
    drop(connected);
    let status = child.wait()?;
    drop(client);
    serving.wait()?;
    Ok(format!("{status}\n"))
}

/// For the programs that are started from now on.
fn inherit<const N: usize>(fds: [BorrowedFd<'_>; N]) -> nix::Result<()> {
    fds.iter().try_for_each(|fd| fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).map(drop))
}

/// A copy of the mount that is in no tree.
fn detached(folder: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(folder.as_os_str().as_bytes())?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: open_tree(2) reads one C string, which lives through the call.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, name.as_ptr(), flags) };
    match i32::try_from(tree) {
        // SAFETY: a descriptor that was just made for nobody else.
        Ok(tree @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(tree) }),
        _ => Err(io::Error::last_os_error()),
    }
}
