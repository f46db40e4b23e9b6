//! The control socket: SOCK_SEQPACKET, one JSON packet a command, one an answer.
//!
//! The supervisor asks and waits; hull-fs ends when the supervisor's end closes. `Add` carries one
//! descriptor (SCM_RIGHTS, unix(7)): a detached mount (`OPEN_TREE_CLONE`), whose flags the supervisor has set.

use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Bytes of the largest packet.
const MAX_PACKET: usize = 8192;
/// Bytes of a failure's text. JSON may write each as six (`\u0001`), and the packet still fits.
const MAX_MESSAGE: usize = 1024;
/// Bytes of a share's name.
pub const MAX_NAME: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("Failed to {action} hull-fs' control socket")]
    Socket { action: &'static str, source: Errno },
    #[error("A packet of hull-fs' control socket cannot be {action}")]
    Packet { action: &'static str, source: serde_json::Error },
    #[error("A packet of hull-fs' control socket is larger than {MAX_PACKET} bytes")]
    TooLarge,
    #[error("A packet of hull-fs' control socket came with more than one descriptor")]
    Descriptors,
    #[error("The file server has closed its control socket")]
    HungUp,
    #[error("The file server refused: {0}")]
    Refused(String),
}

#[derive(Debug, thiserror::Error)]
#[error("A share's name has 1 to {MAX_NAME} of a to z, 0 to 9 and -")]
pub struct BadName;

/// What a share is called in the file system's root: 1 to 64 of `[a-z0-9-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShareName(String);

impl ShareName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ShareName {
    type Error = BadName;

    fn try_from(name: String) -> Result<ShareName, BadName> {
        let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(good) {
            Ok(ShareName(name))
        } else {
            Err(BadName)
        }
    }
}

impl FromStr for ShareName {
    type Err = BadName;

    fn from_str(name: &str) -> Result<ShareName, BadName> {
        ShareName::try_from(name.to_owned())
    }
}

impl From<ShareName> for String {
    fn from(name: ShareName) -> String {
        name.0
    }
}

impl fmt::Display for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// The detached mount that comes along appears under this name.
    Add { name: ShareName },
    /// The share of this name can only be read from now on, whatever the guest knows of it. Refused as long as
    /// the guest has a file of it open for writing.
    ReadOnly { name: ShareName },
    /// The share of this name goes. What a guest holds open of it stays open.
    Remove { name: ShareName },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    Done,
    /// In words, for who asked.
    Failed {
        message: String,
    },
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Client(OwnedFd);

impl Client {
    /// An answer takes a few system calls: longer than `patience` means that hull-fs hangs.
    pub fn new(socket: OwnedFd, patience: Duration) -> Result<Client, ControlError> {
        for timeout in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, timeout, Some(patience))
                .map_err(|source| ControlError::Socket { action: "limit the waits of", source })?;
        }
        Ok(Client(socket))
    }

    /// Shows a detached mount, of a folder or of a regular file.
    pub fn add(&self, name: &ShareName, mount: BorrowedFd<'_>) -> Result<(), ControlError> {
        self.ask(&Command::Add { name: name.clone() }, Some(mount))
    }

    /// Takes all writing from a share.
    pub fn make_read_only(&self, name: &ShareName) -> Result<(), ControlError> {
        self.ask(&Command::ReadOnly { name: name.clone() }, None)
    }

    pub fn remove(&self, name: &ShareName) -> Result<(), ControlError> {
        self.ask(&Command::Remove { name: name.clone() }, None)
    }

    fn ask(&self, command: &Command, mount: Option<BorrowedFd<'_>>) -> Result<(), ControlError> {
        send(self.0.as_fd(), command, mount)?;
        match receive(self.0.as_fd())? {
            None => Err(ControlError::HungUp),
            Some((Answer::Done, _)) => Ok(()),
            Some((Answer::Failed { message }, _)) => Err(ControlError::Refused(message)),
        }
    }
}

/// The next command, with its descriptor if one came along; none once the supervisor is gone.
pub fn receive_command(socket: BorrowedFd<'_>) -> Result<Option<(Command, Option<OwnedFd>)>, ControlError> {
    receive(socket)
}

pub fn send_answer(socket: BorrowedFd<'_>, result: Result<(), String>) -> Result<(), ControlError> {
    let answer = match result {
        Ok(()) => Answer::Done,
        Err(mut message) => {
            while message.len() > MAX_MESSAGE {
                message.pop();
            }
            Answer::Failed { message }
        }
    };
    send(socket, &answer, None)
}

fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    packet: &T,
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), ControlError> {
    let bytes =
        serde_json::to_vec(packet).map_err(|source| ControlError::Packet { action: "written", source })?;
    if bytes.len() > MAX_PACKET {
        return Err(ControlError::TooLarge);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let sent = loop {
        match sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => break sent,
        }
    };
    match sent {
        Ok(_) => Ok(()),
        Err(Errno::PIPE | Errno::CONNRESET) => Err(ControlError::HungUp),
        Err(source) => Err(ControlError::Socket { action: "write to", source }),
    }
}

fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> Result<Option<(T, Option<OwnedFd>)>, ControlError> {
    let mut bytes = [0; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut into = [IoSliceMut::new(&mut bytes)];
        match recvmsg(socket, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            received => {
                break received.map_err(|source| ControlError::Socket { action: "read from", source })?;
            }
        }
    };
    let descriptors: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(ControlError::TooLarge);
    }
    if received.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > 1 {
        return Err(ControlError::Descriptors);
    }
    let Some(bytes) = bytes.get(..received.bytes).filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
    let packet =
        serde_json::from_slice(bytes).map_err(|source| ControlError::Packet { action: "read", source })?;
    Ok(Some((packet, descriptors.into_iter().next())))
}

#[cfg(test)]
mod tests;
