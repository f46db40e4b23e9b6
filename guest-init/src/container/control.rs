//! What the agent and the container's first process tell each other until the command runs, over a
//! socket pair that keeps packets apart.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::error::StepError;
use crate::protocol::{CallError, ErrorKind};

/// Longer messages are cut; a path of PATH_MAX fits.
const MAX_PACKET: usize = 8192;

const READY: u8 = b'R';
const FAILED: u8 = b'F';
const START: u8 = b'S';

/// What the container's process has to say.
pub enum News {
    /// Everything is set up; the terminal, if one was asked for.
    Ready(Option<OwnedFd>),
    Failed(CallError),
    /// It closed its end: the command runs, or it died without a word.
    Closed,
}

/// The agent's end (non-blocking reads), and the container's.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

pub fn send_ready(control: impl AsFd, terminal: Option<&OwnedFd>) -> Result<(), Errno> {
    let fds: Vec<_> = terminal.iter().map(|fd| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    sendmsg(control, &[IoSlice::new(&[READY])], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// Best effort: without it the agent sees a process that ended without a word.
pub fn send_failure(control: impl AsFd, error: StepError) {
    let mut packet = vec![FAILED];
    let mut error = CallError::from(error);
    let room = MAX_PACKET / 2;
    while error.message.len() > room {
        error.message.pop();
    }
    if serde_json::to_writer(&mut packet, &error).is_ok() {
        let _ = rustix::net::send(control, &packet, SendFlags::NOSIGNAL);
    }
}

pub fn send_start(control: impl AsFd) -> Result<(), Errno> {
    rustix::net::send(control, &[START], SendFlags::NOSIGNAL).map(drop)
}

/// Waits for the agent's word; false when the agent is gone.
pub fn wait_for_start(control: impl AsFd) -> bool {
    let mut byte = [0u8; 1];
    loop {
        match rustix::net::recv(&control, &mut byte, RecvFlags::empty()) {
            Ok((1, _)) => return byte == [START],
            Err(Errno::INTR) => (),
            Ok(_) | Err(_) => return false,
        }
    }
}

/// What is there to read; None when there is nothing yet.
pub fn receive(control: impl AsFd) -> Option<News> {
    let mut packet = [0u8; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = match recvmsg(control, &mut [IoSliceMut::new(&mut packet)], &mut ancillary, flags) {
        Ok(received) => received,
        Err(Errno::AGAIN | Errno::INTR) => return None,
        Err(_) => return Some(News::Closed),
    };
    let passed = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let body = packet.get(..received.bytes).unwrap_or_default();
    Some(match body.split_first() {
        None => News::Closed,
        Some((&READY, [])) => News::Ready(passed),
        Some((_, rest)) => News::Failed(failure(rest, received.flags)),
    })
}

fn failure(json: &[u8], flags: ReturnFlags) -> CallError {
    let whole = !flags.contains(ReturnFlags::TRUNC);
    serde_json::from_slice(json).ok().filter(|_| whole).unwrap_or_else(|| CallError {
        kind: ErrorKind::Setup,
        message: "The container's set-up failed without saying why".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_arrive_in_order_and_a_closed_end_is_seen() {
        let (agent, container) = pair().unwrap();
        assert!(receive(&agent).is_none());
        send_ready(&container, Some(&container.try_clone().unwrap())).unwrap();
        send_failure(&container, StepError::new(ErrorKind::NoUser, "x".repeat(100_000)));
        drop(container);
        assert!(matches!(receive(&agent), Some(News::Ready(Some(_)))));
        let Some(News::Failed(error)) = receive(&agent) else { panic!() };
        assert_eq!((error.kind, error.message.len()), (ErrorKind::NoUser, MAX_PACKET / 2));
        // Another test's fork may hold the closed end for a moment more.
        let mut closed = [rustix::event::PollFd::new(&agent, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut closed, None).unwrap();
        assert!(matches!(receive(&agent), Some(News::Closed)));
    }

    #[test]
    fn start_is_waited_for_until_the_agent_is_gone() {
        let (agent, container) = pair().unwrap();
        send_start(&agent).unwrap();
        assert!(wait_for_start(&container));
        drop(agent);
        assert!(!wait_for_start(&container));
    }
}
