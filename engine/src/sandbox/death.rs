//! The last words of a VMM or an agent that ended by itself.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hull_guest::protocol::{read_frame, write_frame};
use hull_vmm::control::{Command, Event};
use hull_vmm::lifecycle::ExitCause;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::mode::Isolation;
use super::socket::Timed;
use super::spawn::Ending;

/// What is shown of stderr.
const SHOWN: usize = 2048;

/// Characters of a machine's last event that are kept. Its own are fewer.
const SAID: usize = 8192;
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

    /// What can be told of a process that has not said why it ended. `for_memory`: the kernel has killed it
    /// for want of memory.
    pub fn read(&mut self, mode: Isolation, ending: Option<Ending>, for_memory: bool) -> String {
        let who = match mode {
            Isolation::Vm => "The virtual machine's process",
            Isolation::Namespace => "The sandbox's agent",
        };
        told(who, ending, for_memory, &self.text())
    }

    /// The beginning of it, on one line.
    pub fn text(&mut self) -> String {
        let mut text = Vec::new();
        if self.0.rewind().is_ok() {
            let limit = u64::try_from(SHOWN).unwrap_or(0);
            let _ = (&mut self.0).take(limit).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).replace('\n', "; ")
    }
}

/// How a process ended, and what it said before.
pub fn told(who: &str, ending: Option<Ending>, for_memory: bool, words: &str) -> String {
    let how = match ending {
        Some(Ending::Killed(_)) if for_memory => {
            "was killed by the host's OOM killer; the container's own limit was not met".to_string()
        }
        Some(Ending::Killed(signal)) => format!("was killed by {signal}, and not by hull"),
        Some(Ending::Exited(code)) => format!("ended with exit code {code}"),
        None => "does not answer".to_string(),
    };
    match words.trim() {
        "" => format!("{who} {how}"),
        words => format!("{who} {how}: {words}"),
    }
}

/// What a machine says of its end, and the cause as a type. A lost connection to the guest need not mean that it has ended, so it is
/// told to; if it has, it reads no command any more and its own cause stands.
///
/// In no more than [`PATIENCE`] all in all: a process that its guest has taken over may go on talking.
pub fn last_event(control: &mut UnixStream) -> Option<(ExitCause, String)> {
    let _ = write_frame(control, &Command::Stop);
    let mut control = Timed { stream: control, end: Some(Instant::now() + PATIENCE) };
    while let Ok(event) = read_frame::<Event>(&mut control) {
        if let Event::Exit { cause, message, boot_log_tail } = event {
            // A machine that its guest has taken over may say anything.
            let words = with_boot_log(message, boot_log_tail.as_deref());
            return Some((cause, words.chars().take(SAID).collect()));
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::sys::signal::Signal;

    use super::*;

    fn of_machine(ending: Option<Ending>, for_memory: bool) -> String {
        LastWords::new().unwrap().read(Isolation::Vm, ending, for_memory)
    }

    #[test]
    fn a_kill_is_told_from_an_end_and_the_hosts_memory_from_other_kills() {
        let killed = Some(Ending::Killed(Signal::SIGKILL));
        assert!(of_machine(killed, false).contains("killed by SIGKILL"));
        assert!(of_machine(killed, true).contains("the host's OOM killer"));
        assert!(of_machine(Some(Ending::Exited(1)), true).contains("ended with exit code 1"));
        assert!(of_machine(None, false).contains("does not answer"));
    }

    #[test]
    fn what_it_wrote_stands_behind_it() {
        let mut words = LastWords::new().unwrap();
        File::from(words.writer().try_clone_to_owned().unwrap()).write_all(b"one\ntwo\n").unwrap();
        let text = words.read(Isolation::Namespace, Some(Ending::Exited(2)), false);
        assert_eq!(text, "The sandbox's agent ended with exit code 2: one; two;");
    }
}
