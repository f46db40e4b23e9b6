//! The serial console: a 16550 whose output is the boot log. It has no input.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

    /// The last bytes the guest wrote, as text.
    pub fn tail(&self) -> String {
        let bytes = [&self.tail[..], &self.line[..]].concat();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..]).into_owned()
    }

    fn push(&mut self, byte: u8) {
        self.line.push(byte);
        if byte == b'\n' || self.line.len() >= LINE {
            self.write_line();
        }
    }

    /// Writes what is there of a line. A log that cannot be written must not stop the guest, so a
    /// refusal (a full disk, a closed pipe) closes the log; its tail goes on.
    pub fn write_line(&mut self) {
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

pub fn lock(log: &SharedLog) -> MutexGuard<'_, BootLog> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!(content(file), b"one\n");
        assert_eq!(lock(&log).tail(), "one\ntw");
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
