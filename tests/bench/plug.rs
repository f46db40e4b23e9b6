//! A machine whose network devices are plugged into taps, as a supervisor does it.

use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use anyhow::{Context, bail};
use hull_vmm::config::{FileSource, NetLimits, VmConfig};
use hull_vmm::control::{self, Event, frame};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Runs `vmm` with the machine of `config` until it ends; its network device 0 is plugged into the tap
/// of that name, which is there already.
pub(crate) fn plug(vmm: &str, config: &str, tap: &str) -> anyhow::Result<String> {
    let (mut control, theirs) = UnixStream::pair()?;
    let mut machine: VmConfig = serde_json::from_reader(File::open(config)?)?;
    machine.control = Some(theirs.as_raw_fd());
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let complete = format!("{config}.plugged");
    serde_json::to_writer(File::create(&complete)?, &machine)?;
    let mut child = Command::new(vmm).arg("--config").arg(&complete).spawn().context("Failed to start")?;
    drop(theirs);
    if event(&mut control)? != Event::Running {
        bail!("The machine does not run");
    }
    let file = open_tap(tap).with_context(|| format!("Failed to open the tap {tap}"))?;
    let command = control::Command::PlugNet { net: 0, tap: FileSource::Fd(0), limits: NetLimits::default() };
    send(&control, &command, &file)?;
    drop(file);
    match event(&mut control)? {
        Event::Done { .. } => {}
        other => bail!("{other:?} instead of a network"),
    }
    // Killed when it has been measured; the machine goes with its control socket.
    let status = child.wait()?;
    Ok(format!("{status}\n"))
}

fn event(control: &mut UnixStream) -> anyhow::Result<Event> {
    let mut prefix = [0; frame::PREFIX];
    control.read_exact(&mut prefix)?;
    let mut body = vec![0; frame::body_length(prefix)?];
    control.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

fn send(control: &UnixStream, command: &control::Command, file: &File) -> anyhow::Result<()> {
    let (bytes, fds) = (frame::encode(command)?, [file.as_raw_fd()]);
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(control.as_raw_fd(), &[IoSlice::new(&bytes)], &rights, MsgFlags::empty(), None)?;
    Ok(())
}

fn open_tap(name: &str) -> io::Result<File> {
    let tap = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: all fields of ifreq may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays the NUL that it is.
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: TUNSETIFF reads a struct ifreq, which lives as long as the call.
    match unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } {
        0 => Ok(tap),
        _ => Err(io::Error::last_os_error()),
    }
}
