//! The worker of a block device: one request after the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use vmm_sys_util::epoll::EventSet;

use super::backend::Backend;
use super::raw::RawFile;
use super::request::{Command, ID_BYTES, Range, Status, place};
use super::slot::Disk;
use super::{MAX_DISCARD_SECTORS, MAX_RANGES, MAX_ZERO_SECTORS, SECTOR};
use crate::devices::virtio::alarm::Alarm;
use crate::devices::virtio::chain::{Chain, Reader, Short, Slices};
use crate::devices::virtio::interrupt::Interrupt;
use crate::devices::virtio::queue::Queue;
use crate::devices::virtio::throttle::Direction;
use crate::devices::virtio::worker::{Poll, Task, TaskError, Token};
use crate::memory::GuestMemory;

/// The answer to GET_ID: NUL-padded.
const ID: [u8; ID_BYTES] = *b"hull\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

pub(super) struct BlockTask {
    pub disk: Arc<Disk>,
    pub memory: Arc<GuestMemory>,
    pub requests: Queue,
    pub interrupt: Interrupt,
    /// Data bytes of one request.
    pub max_bytes: u64,
    /// Flush after each change.
    pub write_through: bool,
    /// For the next request to be served at its time.
    pub due: Alarm,
}

#[derive(Clone, Copy)]
pub(super) enum Event {
    /// The driver has notified, or the disk's limits have changed.
    Request,
    /// The request that waits may be served.
    Due,
}

impl Token for Event {
    fn encode(self) -> u64 {
        match self {
            Self::Request => 0,
            Self::Due => 1,
        }
    }

    fn decode(data: u64) -> Option<Self> {
        match data {
            0 => Some(Self::Request),
            1 => Some(Self::Due),
            _ => None,
        }
    }
}

impl Task for BlockTask {
    type Token = Event;

    fn watch(&mut self, poll: &Poll<Event>) -> io::Result<()> {
        poll.add_event(self.requests.kick(), Event::Request)
    }

    fn on_event(&mut self, token: Event, _: EventSet, poll: &Poll<Event>) -> Result<(), TaskError> {
        match token {
            Event::Request => {}
            Event::Due => self.due.silence()?,
        }
        let server =
            Server { disk: &self.disk, max_bytes: self.max_bytes, write_through: self.write_through };
        let mut too_early = None;
        self.requests.drain_until(&self.memory, &self.interrupt, |chain| {
            server.serve(chain).map_err(|wait| too_early = Some(wait)).ok()
        })?;
        match too_early {
            Some(wait) => Ok(self.due.ring_after(wait, poll, Event::Due)?),
            None => Ok(()),
        }
    }
}

struct Server<'a> {
    disk: &'a Disk,
    max_bytes: u64,
    write_through: bool,
}

impl Server<'_> {
    /// Returns the bytes written into the chain, or how long it has to wait for its turn.
    fn serve(&self, mut chain: Chain<'_>) -> Result<u32, Duration> {
        // The status is the last byte; without room for it the driver cannot be told a thing.
        let Some(room) = chain.writer.len().checked_sub(1) else { return Ok(0) };
        let Ok(data) = chain.writer.take(room) else { return Ok(0) };
        let command = Command::parse(&mut chain.reader);
        if let Ok(command) = &command {
            self.admit(command, chain.reader.len(), room)?;
        }
        let outcome = command.and_then(|command| self.execute(command, chain.reader, data));
        let (status, filled) = outcome.map_or_else(|status| (status, 0), |filled| (Status::Ok, filled));
        // There is exactly one byte left.
        let _ = chain.writer.write(&[status as u8]);
        // Counted are bytes from the chain's start without a gap (VirtIO 1.2, 2.7.8).
        let written = if filled == room { filled + 1 } else { filled };
        Ok(u32::try_from(written).unwrap_or(0))
    }

    /// Counts a request with `input` bytes for the disk and room for `output` against the disk's limits.
    fn admit(&self, command: &Command, input: usize, output: usize) -> Result<(), Duration> {
        let (direction, bytes) = match command {
            Command::Read { .. } => (Direction::ToGuest, output),
            Command::Write { .. } => (Direction::FromGuest, input),
            // The host makes zeros by itself; where it cannot, they are counted when they are written.
            Command::WriteZeroes => (Direction::FromGuest, 0),
            Command::Flush | Command::GetId | Command::Discard => return Ok(()),
        };
        // One that asks for more fails.
        let bytes = u64::try_from(bytes).map_or(self.max_bytes, |bytes| bytes.min(self.max_bytes));
        self.disk.throttle().admit(direction, bytes)
    }

    /// Returns the bytes of `output` that were filled.
    fn execute(&self, command: Command, input: Reader<'_>, output: Slices<'_>) -> Result<usize, Status> {
        match command {
            Command::Read { sector } => self.read(sector, output),
            Command::GetId => get_id(output),
            Command::Write { sector } => self.write(sector, input).map(|()| 0),
            Command::Flush => self.flush().map(|()| 0),
            Command::Discard => {
                let discard = |range: Range, file: &RawFile, offset, len| match range.unmap {
                    // Only zeroing knows the flag (VirtIO 1.2, 5.2.6.2).
                    true => Err(Status::Unsupported),
                    false => done(file.discard(offset, len)),
                };
                self.each_range(input, MAX_DISCARD_SECTORS, discard).map(|()| 0)
            }
            Command::WriteZeroes => {
                let zero = |range: Range, file: &RawFile, offset, len| {
                    let written = done(file.write_zeroes(offset, len, range.unmap))?;
                    self.disk.throttle().owe(Direction::FromGuest, written);
                    Ok(())
                };
                self.each_range(input, MAX_ZERO_SECTORS, zero).map(|()| 0)
            }
        }
    }

    fn read(&self, sector: u64, mut output: Slices<'_>) -> Result<usize, Status> {
        let count = output.len();
        let offset = self.place(sector, count)?;
        match self.disk.backend() {
            Some(backend) => done(backend.read(offset, output))?,
            None => output.zero(),
        }
        Ok(count)
    }

    fn flush(&self) -> Result<(), Status> {
        match self.disk.backend().and_then(Backend::raw) {
            Some(file) => done(file.flush()),
            None => Ok(()),
        }
    }

    fn write(&self, sector: u64, mut input: Reader<'_>) -> Result<(), Status> {
        let offset = self.place(sector, input.len())?;
        let count = input.len();
        let data = input.take(count).map_err(|Short| Status::IoError)?;
        let file = self.writable()?;
        done(file.write(offset, data))?;
        self.settle(file)
    }

    /// Applies `change` to each range of a request to discard or zero.
    fn each_range(
        &self,
        mut input: Reader<'_>,
        max_sectors: u32,
        change: impl Fn(Range, &RawFile, u64, u64) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let file = self.writable()?;
        for _ in 0..MAX_RANGES {
            if input.is_empty() {
                return self.settle(file);
            }
            let range = Range::parse(&mut input)?;
            let len = u64::from(range.sectors) * SECTOR;
            let offset = place(range.sector, len, self.disk.capacity())?;
            if range.sectors > max_sectors {
                return Err(Status::IoError);
            }
            if len > 0 {
                change(range, file, offset, len)?;
            }
        }
        if input.is_empty() { self.settle(file) } else { Err(Status::IoError) }
    }

    fn place(&self, sector: u64, len: usize) -> Result<u64, Status> {
        let len = u64::try_from(len).ok().filter(|len| *len <= self.max_bytes).ok_or(Status::IoError)?;
        place(sector, len, self.disk.capacity())
    }

    fn writable(&self) -> Result<&RawFile, Status> {
        self.disk.backend().and_then(Backend::raw).ok_or(Status::IoError)
    }

    fn settle(&self, file: &RawFile) -> Result<(), Status> {
        if self.write_through { done(file.flush()) } else { Ok(()) }
    }
}

fn get_id(mut output: Slices<'_>) -> Result<usize, Status> {
    output.copy_from(&ID).map(|()| ID.len()).map_err(|Short| Status::IoError)
}

/// The guest learns that it failed; why is the host's affair.
fn done<T>(outcome: io::Result<T>) -> Result<T, Status> {
    outcome.map_err(|_| Status::IoError)
}
