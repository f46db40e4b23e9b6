//! The machine's end of the control socket.

use std::io::{self, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::frame::{PREFIX, body_length, encode};
use super::{Command, Event, FrameError};

/// Descriptors one sendmsg(2) can carry (SCM_MAX_FD of the kernel).
const MAX_RIGHTS: usize = 253;
/// Descriptors one frame can carry: one for each segment of a disk.
const MAX_FILES: usize = crate::config::MAX_SEGMENTS;

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("Failed to read from the control socket")]
    Read(#[source] io::Error),
    #[error("Failed to write to the control socket")]
    Write(#[source] io::Error),
    #[error("The control socket carried a bad frame")]
    Frame(#[from] FrameError),
    #[error("The control socket carried no command")]
    Decode(#[source] serde_json::Error),
    #[error("The control socket carried more than {MAX_FILES} descriptors for one command")]
    TooManyFiles,
    #[error("Descriptors that came over the control socket could not be taken: too many are open")]
    FilesLost,
    #[error("The control socket was closed in the middle of a command")]
    Truncated,
}

/// What a readable control socket had to say.
#[derive(Debug)]
pub enum Received {
    Command(Command, Vec<OwnedFd>),
    /// A command is on its way, but not whole yet.
    Partial,
    Closed,
}

/// The control socket, and the frame that is arriving on it.
pub struct Control {
    stream: UnixStream,
    frame: Vec<u8>,
    files: Vec<OwnedFd>,
}

impl Control {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, frame: Vec::new(), files: Vec::new() }
    }

    /// Sends an event, waiting for room if there is none.
    pub fn send(&mut self, event: &Event) -> Result<(), ControlError> {
        let bytes = encode(event)?;
        self.stream.write_all(&bytes).map_err(ControlError::Write)
    }

    /// Takes in what there is of one command, without waiting. Never reads over a command's end, so
    /// descriptors cannot be taken for those of another.
    pub fn receive(&mut self) -> Result<Received, ControlError> {
        loop {
            let missing = match self.frame.first_chunk::<PREFIX>() {
                None => PREFIX - self.frame.len(),
                Some(prefix) => body_length(*prefix)? + PREFIX - self.frame.len(),
            };
            if missing == 0 {
                let body = self.frame.split_off(PREFIX);
                self.frame.clear();
                let command = serde_json::from_slice(&body).map_err(ControlError::Decode)?;
                return Ok(Received::Command(command, std::mem::take(&mut self.files)));
            }
            match self.read_some(missing)? {
                None => return Ok(Received::Partial),
                Some(0) if self.frame.is_empty() => return Ok(Received::Closed),
                Some(0) => return Err(ControlError::Truncated),
                Some(_) => {}
            }
        }
    }

    /// Reads up to `limit` bytes, and the descriptors that came with them. None: nothing there.
    fn read_some(&mut self, limit: usize) -> Result<Option<usize>, ControlError> {
        let start = self.frame.len();
        self.frame.resize(start + limit, 0);
        let mut rights = nix::cmsg_space!([RawFd; MAX_RIGHTS]);
        let mut slices = [IoSliceMut::new(&mut self.frame[start..])];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(self.stream.as_raw_fd(), &mut slices, Some(&mut rights), flags);
        let result = match received {
            Ok(message) => {
                // The machine ends with this error, and whatever did arrive with it.
                let messages = message.cmsgs().map_err(|_| ControlError::FilesLost)?;
                for fd in messages.flat_map(rights_of) {
                    // SAFETY: the kernel has just made this descriptor for this process, and nobody
                    // else knows of it.
                    self.files.push(unsafe { OwnedFd::from_raw_fd(fd) });
                }
                Ok(Some(message.bytes))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            // Closed with unread bytes of ours in it: as gone as at an end of file.
            Err(Errno::ECONNRESET) => Ok(Some(0)),
            Err(errno) => Err(ControlError::Read(errno.into())),
        };
        let count = result.as_ref().ok().copied().flatten().unwrap_or(0);
        self.frame.truncate(start + count);
        if self.files.len() > MAX_FILES { Err(ControlError::TooManyFiles) } else { result }
    }
}

fn rights_of(message: ControlMessageOwned) -> Vec<RawFd> {
    match message {
        ControlMessageOwned::ScmRights(fds) => fds,
        _ => Vec::new(),
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::DiskContent;
    use nix::sys::socket::{ControlMessage, sendmsg, setsockopt, sockopt};
    use std::fs::File;
    use std::io::{IoSlice, Read};

    fn pair() -> (Control, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Control::new(ours), theirs)
    }

    fn send_with(stream: &UnixStream, bytes: &[u8], fds: &[RawFd]) {
        let rights = [ControlMessage::ScmRights(fds)];
        sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(bytes)], &rights, MsgFlags::empty(), None).unwrap();
    }

    fn fill(disk: usize) -> Vec<u8> {
        let content = DiskContent::File(crate::config::FileSource::Fd(0));
        encode(&Command::FillDisk { disk, content }).unwrap()
    }

    #[test]
    fn each_command_gets_the_descriptors_that_came_with_it() {
        let (mut control, theirs) = pair();
        let file = File::open("/dev/null").unwrap();
        (&theirs).write_all(&encode(&Command::Stop).unwrap()).unwrap();
        send_with(&theirs, &fill(3), &[file.as_raw_fd(), file.as_raw_fd()]);
        let Received::Command(Command::Stop, files) = control.receive().unwrap() else { panic!() };
        assert!(files.is_empty());
        let Received::Command(Command::FillDisk { disk: 3, .. }, files) = control.receive().unwrap() else {
            panic!()
        };
        assert_eq!(files.len(), 2);
        assert!(matches!(control.receive().unwrap(), Received::Partial));
    }

    #[test]
    fn command_may_arrive_in_pieces_with_descriptors_in_each() {
        let (mut control, theirs) = pair();
        let file = File::open("/dev/null").unwrap();
        let bytes = fill(0);
        for byte in &bytes {
            assert!(matches!(control.receive().unwrap(), Received::Partial));
            send_with(&theirs, &[*byte], &[file.as_raw_fd()]);
        }
        let Received::Command(_, files) = control.receive().unwrap() else { panic!() };
        assert_eq!(files.len(), bytes.len());
    }

    #[test]
    fn closing_is_told_from_breaking_off() {
        let (mut control, theirs) = pair();
        drop(theirs);
        assert!(matches!(control.receive().unwrap(), Received::Closed));
        let (mut control, mut theirs) = pair();
        theirs.write_all(&[9, 0]).unwrap();
        drop(theirs);
        assert!(matches!(control.receive(), Err(ControlError::Truncated)));
    }

    #[test]
    fn nonsense_is_refused_before_it_is_stored() {
        for bytes in [&[0xff, 0xff, 0xff, 0x7f][..], b"\x02\0\0\0{}", b"\x03\0\0\0abc"] {
            let (mut control, mut theirs) = pair();
            theirs.write_all(bytes).unwrap();
            assert!(control.receive().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn descriptors_that_did_not_fit_are_an_error() {
        let (mut control, theirs) = pair();
        // Credentials come first and take the room of the last descriptors.
        setsockopt(&control.stream, sockopt::PassCred, &true).unwrap();
        let file = File::open("/dev/null").unwrap();
        send_with(&theirs, &fill(0), &[file.as_raw_fd(); MAX_RIGHTS]);
        assert!(matches!(control.receive(), Err(ControlError::FilesLost)));
    }

    #[test]
    fn events_are_written_as_frames() {
        let (mut control, mut theirs) = pair();
        control.send(&Event::Running).unwrap();
        let mut bytes = [0u8; 4 + 19];
        theirs.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes[4..], br#"{"event":"running"}"#);
    }
}
