//! The serial console: a 16550 whose output is the boot log. It has no input.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use vm_superio::serial::NoEvents;
use vm_superio::{Serial, Trigger};

use super::bus::BusDevice;
use super::irq::IrqLine;

/// COM1: ports, and its ISA interrupt.
pub const PORT: u64 = 0x3f8;
pub const PORTS: u64 = 8;
pub const IRQ: u8 = 4;
/// Bytes that a guest may write into a log file; what comes after is dropped.
const LOG_MAX: usize = 1 << 20;
const FULL: &[u8] = b"\n[hull-vmm: the boot log is full; what the guest writes from here on is dropped]\n";
/// Bytes of the log that go along with the machine's end.
const TAIL: usize = 4096;
/// A line is written at its end, or when it is this long.
const LINE: usize = 256;

/// The boot log: a file with an upper bound, and its last bytes kept at hand.
pub struct BootLog {
    file: File,
    line: Vec<u8>,
    /// At least the last [`TAIL`] bytes, at most twice as many.
    tail: Vec<u8>,
    room: usize,
}

impl BootLog {
    pub fn new(file: File) -> Self {
        Self { file, line: Vec::with_capacity(LINE), tail: Vec::new(), room: LOG_MAX }
    }

    /// The last bytes the guest wrote.
    fn tail(&self) -> String {
        let bytes = [&self.tail[..], &self.line[..]].concat();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..]).into_owned()
    }

    fn push(&mut self, byte: u8) {
        self.line.push(byte);
        if byte == b'\n' || self.line.len() >= LINE {
            self.write_line();
        }
    }

    /// Whether a line can be written without waiting for whoever reads the other end.
    fn takes_a_line(&self) -> bool {
        let mut log = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        poll(&mut log, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// Writes what is there of a line. A log that cannot be written must not stop the guest, so a
    /// refusal (a full disk, a closed pipe) closes the log; its tail goes on.
    fn write_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let fits = line.len().min(self.room);
        if self.room > 0 && self.file.write_all(&line[..fits]).is_err() {
            self.room = 0;
        } else if self.room > 0 {
            self.room -= fits;
            if self.room == 0 {
                let _ = self.file.write_all(FULL);
            }
        }
        if self.tail.len() + line.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
        self.tail.extend(&line);
        self.line = line;
        self.line.clear();
    }
}

/// Shared by the console and by whoever reports the machine's end.
pub type SharedLog = Arc<Mutex<BootLog>>;

fn lock(log: &SharedLog) -> MutexGuard<'_, BootLog> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For the machine's end, which must not wait for a vCPU that is stuck in a write to the log.
fn try_lock(log: &SharedLog) -> Option<MutexGuard<'_, BootLog>> {
    match log.try_lock() {
        Ok(log) => Some(log),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// The last bytes the guest wrote, as text; none while a write to the log is stuck.
pub fn tail(log: &SharedLog) -> Option<String> {
    try_lock(log).map(|log| log.tail())
}

/// Writes the unfinished last line, unless the log (a pipe, a terminal) would make it wait.
pub fn write_rest(log: &SharedLog) {
    if let Some(mut log) = try_lock(log).filter(|log| log.takes_a_line()) {
        log.write_line();
    }
}

/// The device on the port bus.
pub struct Console(Serial<Line, NoEvents, Sink>);

impl Console {
    pub fn new(irq: Arc<dyn IrqLine>, log: SharedLog) -> Self {
        Self(Serial::new(Line(irq), Sink(log)))
    }
}

impl BusDevice for Console {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        if let (Ok(offset), [byte]) = (u8::try_from(offset), data) {
            *byte = self.0.read(offset);
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let (Ok(offset), [byte]) = (u8::try_from(offset), data) {
            // Neither the line nor the sink fails; loopback's full buffer is the guest's affair.
            let _ = self.0.write(offset, *byte);
        }
    }
}

struct Line(Arc<dyn IrqLine>);

impl Trigger for Line {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        self.0.trigger();
        Ok(())
    }
}

struct Sink(SharedLog);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = lock(&self.0);
        bytes.iter().for_each(|byte| log.push(*byte));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};
    use std::thread;
    use std::time::{Duration, Instant};

    struct NoLine;
    impl IrqLine for NoLine {
        fn trigger(&self) {}
    }

    fn console() -> (Console, SharedLog, File) {
        let file = tempfile::tempfile().unwrap();
        let log = Arc::new(Mutex::new(BootLog::new(file.try_clone().unwrap())));
        (Console::new(Arc::new(NoLine), log.clone()), log, file)
    }

    fn content(mut file: File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn lines_reach_the_file_and_the_tail() {
        let (mut console, log, file) = console();
        b"one\ntw".iter().for_each(|byte| console.write(0, &[*byte]));
        assert_eq!(content(file.try_clone().unwrap()), b"one\n");
        assert_eq!(tail(&log).unwrap(), "one\ntw");
        write_rest(&log);
        assert_eq!(content(file), b"one\ntw");
    }

    #[test]
    fn log_stops_growing_and_its_tail_goes_on() {
        let (mut console, log, file) = console();
        for number in 0..120_000 {
            format!("line {number}\n").bytes().for_each(|byte| console.write(0, &[byte]));
        }
        assert_eq!(content(file).len(), LOG_MAX + FULL.len());
        let log = lock(&log);
        assert!(log.tail().ends_with("line 119999\n"));
        assert_eq!(log.tail().len(), TAIL);
        assert!(log.tail.capacity() <= 4 * TAIL);
    }

    /// A log into a pipe that takes nothing any more, and the pipe's other end.
    fn full_pipe() -> (SharedLog, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let mut file = File::from(std::os::fd::OwnedFd::from(writer));
        nix::fcntl::fcntl(&file, nix::fcntl::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
        while file.write(&[0; 4096]).is_ok() {}
        nix::fcntl::fcntl(&file, nix::fcntl::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();
        (Arc::new(Mutex::new(BootLog::new(file))), reader)
    }

    #[test]
    fn end_does_not_wait_for_a_log_that_takes_nothing() {
        let (log, _reader) = full_pipe();
        lock(&log).push(b'x');
        write_rest(&log);
        assert_eq!(tail(&log).unwrap(), "x");
    }

    #[test]
    fn end_does_not_wait_for_a_write_that_is_stuck() {
        let (log, reader) = full_pipe();
        let writer = thread::spawn({
            let log = log.clone();
            move || lock(&log).push(b'\n')
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while tail(&log).is_some() {
            assert!(Instant::now() < deadline, "the write is not stuck");
            thread::yield_now();
        }
        write_rest(&log);
        drop(reader);
        writer.join().unwrap();
    }

    #[test]
    fn transmitter_is_always_ready_and_odd_accesses_do_nothing() {
        let (mut console, _log, file) = console();
        let mut status = [0u8; 1];
        console.read(5, &mut status);
        assert_eq!(status[0] & 0x60, 0x60);
        console.write(0, b"ab");
        console.read(300, &mut [0]);
        assert!(content(file).is_empty());
    }
}
