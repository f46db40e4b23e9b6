use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};

use super::super::helpers::send_all;
use super::super::session::encode;
use super::super::slab::Key;
use super::super::{Agent, Answer};
use super::state_error;
use crate::archive::{self, Output};
use crate::container::root_view;
use crate::container::task::Stage;
use crate::error::Step;
use crate::protocol::{CallError, ContainerArgs, Outcome};

/// Bytes of a piece, beside its length.
const PIECE: usize = 128 * 1024;
const HEADER: usize = 4;

impl Agent {
    /// A child reads and sends; the first answer is its own, too.
    pub(super) fn archive(&mut self, session: Key, args: &ContainerArgs) -> Result<Answer, CallError> {
        self.check_room()?;
        let key = self.find_container(&args.container)?;
        let there = |stage: &Stage| matches!(stage, Stage::Created | Stage::Starting { .. } | Stage::Running);
        let task = self.tasks.get(key).filter(|task| there(&task.stage));
        let Some(process) = task.and_then(|task| task.process) else {
            return Err(state_error("The container has ended, and its root with it"));
        };
        // Before there is a child: this process reaps it, so until here its number is its own.
        let container = pidfd_open(process, PidfdFlags::empty()).step("open the container's process")?;
        self.help(session, vec![container.as_raw_fd()], |agent| {
            let Some(session) = agent.sessions.get(session) else { return Ok(Outcome::Done) };
            let root = root_view(&container)?;
            let mut pieces = Pieces::new(session.socket());
            let gone = |_| state_error("The host has gone");
            send_all(session.socket(), &encode(Ok(Outcome::Done))).map_err(gone)?;
            let written = archive::write(root, &mut pieces);
            pieces.end().map_err(gone)?;
            Ok(written.map(|()| Outcome::Done)?)
        })
    }
}

/// Sends what is put in as pieces.
struct Pieces<'a> {
    socket: &'a OwnedFd,
    /// Begins with room for the length.
    piece: Vec<u8>,
}

impl<'a> Pieces<'a> {
    fn new(socket: &'a OwnedFd) -> Self {
        let mut piece = Vec::with_capacity(HEADER + PIECE);
        piece.resize(HEADER, 0);
        Pieces { socket, piece }
    }

    fn flush(&mut self) -> Result<(), Errno> {
        let length = self.piece.len() - HEADER;
        if length == 0 {
            return Ok(());
        }
        let header = u32::try_from(length).map_err(|_| Errno::OVERFLOW)?.to_le_bytes();
        self.piece.iter_mut().zip(header).for_each(|(slot, byte)| *slot = byte);
        send_all(self.socket, &self.piece)?;
        self.piece.truncate(HEADER);
        Ok(())
    }

    /// After this comes the outcome.
    fn end(mut self) -> Result<(), Errno> {
        self.flush()?;
        send_all(self.socket, &[0; HEADER])
    }
}

impl Output for Pieces<'_> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let room = HEADER + PIECE - self.piece.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == HEADER + PIECE {
                self.flush()?;
            }
        }
        Ok(())
    }
}
