//! A machine with a folder shared by hull-fs, as a supervisor does it.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use hull_engine::sandbox::tree;
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
    client.add(&"share".parse()?, tree::copy(Path::new(folder), false)?.as_fd())?;

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
