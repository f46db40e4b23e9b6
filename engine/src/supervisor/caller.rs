//! A client of the control socket that waits for its answer.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hull_guest::protocol::{CallError, ErrorKind, write_frame};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::control::{Answer, Reply};

/// An answer fits into an empty socket's buffer; a client that does not even have that goes without.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Caller(UnixStream);

impl Caller {
    pub fn new(connection: UnixStream) -> Caller {
        let _ = connection.set_write_timeout(Some(LIMIT));
        Caller(connection)
    }

    pub fn answer(self, reply: &Reply) {
        // A caller that has left does not miss it.
        let _ = write_frame(&mut &self.0, reply);
    }

    /// The first of two answers. False: nobody is there any more.
    pub fn promise(&self) -> bool {
        write_frame(&mut &self.0, &Reply::Ok(Answer::Done)).is_ok()
    }

    pub fn done(self) {
        self.answer(&Ok(Answer::Done));
    }

    pub fn refuse(self, error: CallError) {
        self.answer(&Err(error));
    }

    /// Answers, and goes on as a stream.
    pub fn into_stream(self) -> io::Result<UnixStream> {
        write_frame(&mut &self.0, &Reply::Ok(Answer::Done)).map_err(io::Error::other)?;
        self.0.set_write_timeout(None)?;
        Ok(self.0)
    }

    /// The connection, for another thread to see it close.
    pub fn connection(&self) -> io::Result<UnixStream> {
        self.0.try_clone()
    }

    /// Answers with descriptors (SCM_RIGHTS, unix(7)), which the client has for itself from then on.
    pub fn hand_over(&self, streams: &[UnixStream]) -> io::Result<()> {
        let mut frame = Vec::new();
        write_frame(&mut frame, &Reply::Ok(Answer::Done)).map_err(io::Error::other)?;
        let fds: Vec<RawFd> = streams.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let rights = if fds.is_empty() { &rights[..0] } else { &rights[..] };
        let bytes = [IoSlice::new(&frame)];
        sendmsg::<()>(self.0.as_raw_fd(), &bytes, rights, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }
}

pub fn state_error(message: impl Into<String>) -> CallError {
    CallError { kind: ErrorKind::State, message: message.into() }
}

pub fn failure(error: &dyn std::error::Error) -> CallError {
    CallError { kind: ErrorKind::Setup, message: chain(error) }
}

/// An error with its causes, one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
