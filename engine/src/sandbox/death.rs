//! The last words of a VMM or an agent that ended by itself.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hull_guest::protocol::{read_frame, write_frame};
use hull_vmm::control::{Command, Event};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::mode::Isolation;

/// What is shown of stderr.
const SHOWN: usize = 2048;

/// How long a machine that was told to stop may take to say why it ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// The stderr of a started process, in memory.
#[derive(Debug)]
pub struct LastWords(File);

impl LastWords {
    pub fn new() -> io::Result<LastWords> {
        let file = memfd_create(c"stderr", MFdFlags::MFD_CLOEXEC)?;
        Ok(LastWords(file.into()))
    }

    pub fn writer(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// What is left when the process has ended without an event of its own.
    pub fn read(&mut self, mode: Isolation) -> String {
        let who = match mode {
            Isolation::Vm => "The virtual machine's process",
            Isolation::Namespace => "The sandbox's agent",
        };
        match self.text().trim() {
            "" => format!("{who} ended without a word (killed?)"),
            words => format!("{who} ended: {words}"),
        }
    }

    fn text(&mut self) -> String {
        let mut text = Vec::new();
        if self.0.rewind().is_ok() {
            let limit = u64::try_from(SHOWN).unwrap_or(0);
            let _ = (&mut self.0).take(limit).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).replace('\n', "; ")
    }
}

/// What a machine says of its end. A lost connection to the guest need not mean that it has ended, so it is
/// told to; if it has, it reads no command any more and its own cause stands.
pub fn last_event(control: &mut UnixStream) -> Option<String> {
    let _ = write_frame(control, &Command::Stop);
    let _ = control.set_read_timeout(Some(PATIENCE));
    while let Ok(event) = read_frame::<Event>(control) {
        if let Event::Exit { message, boot_log_tail, .. } = event {
            return Some(with_boot_log(message, boot_log_tail.as_deref()));
        }
    }
    None
}

/// The console's last lines behind the cause; printing escapes them.
fn with_boot_log(message: String, tail: Option<&str>) -> String {
    const LINES: usize = 8;
    let Some(tail) = tail.map(str::trim).filter(|tail| !tail.is_empty()) else { return message };
    let lines: Vec<&str> = tail.lines().map(str::trim_end).collect();
    let shown = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    format!("{message}; the console ends with: {}", shown.join(" | "))
}
