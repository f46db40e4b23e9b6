//! Devices of a running machine: files put behind its disks' slots, taps behind its network devices, rates
//! that a disk is held to.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hull_guest::protocol::read_frame;
use hull_vmm::config::{DiskLimits, FileSource, NetLimits};
use hull_vmm::control::{Command, DiskContent, Event, frame};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::socket::{Timed, left};

/// What a machine may take to answer. It has nothing to open and nothing to wait for; the limit is for one
/// that the host has stopped, or that its guest has taken over.
const LIMIT: Duration = Duration::from_secs(30);
/// Descriptors that one sendmsg(2) carries (unix(7), SCM_RIGHTS).
const MAX_RIGHTS: usize = 253;
/// Characters of the machine's words that are shown. Its own are shorter.
const MESSAGE: usize = 2000;

#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    #[error("Failed to write a command for the machine")]
    Encode(#[source] frame::FrameError),
    #[error("Failed to send a command to the machine")]
    Send(#[source] io::Error),
    #[error("Failed to read the machine's answer")]
    Answer(#[source] hull_guest::protocol::FrameError),
    #[error("The machine did not carry it out: {0}")]
    Refused(String),
    #[error("The machine has ended: {0}")]
    Ended(String),
    #[error("The machine answered with something else")]
    Unexpected,
}

/// Puts `content` behind the empty slot `disk`, and returns its sectors as the guest will see them. Files
/// are named by their place in `fds` ([`hull_vmm::config::FileSource::Fd`]). Nobody else may read from or
/// write to `control` meanwhile. An error but for [`SlotError::Refused`] leaves it in the middle of an
/// exchange: it is good for nothing then but to be closed.
pub fn fill(
    control: &UnixStream,
    disk: usize,
    content: DiskContent,
    fds: &[BorrowedFd],
) -> Result<u64, SlotError> {
    match exchange(control, &Command::FillDisk { disk, content }, fds, LIMIT)? {
        Some(sectors) => Ok(sectors),
        None => Err(SlotError::Unexpected),
    }
}

/// Holds a disk, or slot, to `limits` from now on. As for [`fill`], `control` is this call's alone.
pub fn limit(control: &UnixStream, disk: usize, limits: DiskLimits) -> Result<(), SlotError> {
    match exchange(control, &Command::LimitDisk { disk, limits }, &[], LIMIT)? {
        None => Ok(()),
        Some(_) => Err(SlotError::Unexpected),
    }
}

/// Connects the network device `net` to a tap, held to `limits`. As for [`fill`], `control` is this call's
/// alone.
pub fn plug(control: &UnixStream, net: usize, tap: BorrowedFd, limits: NetLimits) -> Result<(), SlotError> {
    let command = Command::PlugNet { net, tap: FileSource::Fd(0), limits };
    match exchange(control, &command, &[tap], LIMIT)? {
        None => Ok(()),
        Some(_) => Err(SlotError::Unexpected),
    }
}

/// Disconnects the network device `net`: nothing is sent to, or taken from its tap when this returns.
pub fn unplug(control: &UnixStream, net: usize) -> Result<(), SlotError> {
    match exchange(control, &Command::UnplugNet { net }, &[], LIMIT)? {
        None => Ok(()),
        Some(_) => Err(SlotError::Unexpected),
    }
}

/// A command and what its answer says of sectors, in no more than `limit` all in all.
fn exchange(
    control: &UnixStream,
    command: &Command,
    fds: &[BorrowedFd],
    limit: Duration,
) -> Result<Option<u64>, SlotError> {
    let bytes = frame::encode(command).map_err(SlotError::Encode)?;
    let end = Instant::now() + limit;
    let before = timeouts(control).map_err(SlotError::Send)?;
    send(control, &bytes, fds, end).map_err(SlotError::Send)?;
    let event = read_frame(&mut Timed { stream: control, end: Some(end) }).map_err(SlotError::Answer)?;
    let [read, write] = before;
    let restored = control.set_read_timeout(read).and_then(|()| control.set_write_timeout(write));
    restored.map_err(SlotError::Send)?;
    match event {
        Event::Done { sectors } => Ok(sectors),
        Event::Failed { message } => Err(SlotError::Refused(shown(&message))),
        Event::Exit { message, .. } => Err(SlotError::Ended(shown(&message))),
        Event::Running => Err(SlotError::Unexpected),
    }
}

fn shown(message: &str) -> String {
    message.chars().take(MESSAGE).collect()
}

fn timeouts(stream: &UnixStream) -> io::Result<[Option<Duration>; 2]> {
    Ok([stream.read_timeout()?, stream.write_timeout()?])
}

/// Sends a frame and its descriptors, as many at a time as fit. They come with bytes of their own: a frame
/// has more of these than there can be messages.
fn send(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd], end: Instant) -> io::Result<()> {
    let numbers = fds.iter().map(AsRawFd::as_raw_fd).collect::<Vec<RawFd>>();
    let mut batches = numbers.chunks(MAX_RIGHTS).peekable();
    let mut rest = bytes;
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(end)?))?;
        let batch = batches.next().unwrap_or_default();
        // All that is left goes with the last descriptors, a byte with each batch before them.
        let count = if batches.peek().is_some() { 1 } else { rest.len() };
        let slices = [IoSlice::new(rest.get(..count).unwrap_or(rest))];
        let rights = [ControlMessage::ScmRights(batch)];
        let rights = if batch.is_empty() { &rights[..0] } else { &rights[..] };
        let sent = loop {
            match sendmsg::<()>(stream.as_raw_fd(), &slices, rights, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                outcome => break outcome?,
            }
        };
        rest = rest.get(sent..).unwrap_or_default();
    }
    if batches.peek().is_some() { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
