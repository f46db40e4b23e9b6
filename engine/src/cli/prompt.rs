//! Questions on the terminal.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::terminal::Silenced;

/// Asks for a line. The end of the input ends it, too.
pub fn line(question: &str) -> io::Result<String> {
    show(question)?;
    read()
}

/// Asks for a line that is not shown. A signal that ends the process ends it with the terminal as it was.
pub fn hidden(question: &str) -> io::Result<String> {
    let fatal: SigSet =
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT].into_iter().collect();
    let signals = SignalFd::with_flags(&fatal, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let before = fatal.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
    let silenced = Silenced::enter()?;
    let typed = show(question).and_then(|()| wait(&signals)).and_then(|signal| match signal {
        Some(signal) => Ok(Err(signal)),
        None => read().map(Ok),
    });
    drop(silenced);
    println!();
    before.thread_set_mask()?;
    match typed? {
        Ok(typed) => Ok(typed),
        Err(signal) => {
            raise(signal)?;
            Err(ErrorKind::Interrupted.into())
        }
    }
}

fn show(question: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(question.as_bytes())?;
    stdout.flush()
}

/// Until a line is there, or a signal.
fn wait(signals: &SignalFd) -> io::Result<Option<Signal>> {
    let stdin = io::stdin();
    loop {
        let mut both =
            [PollFd::new(stdin.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut both, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => drop(other?),
        }
        if let Some(signal) = signals.read_signal()? {
            let signal = i32::try_from(signal.ssi_signo).map_err(io::Error::other)?;
            return Ok(Some(Signal::try_from(signal)?));
        }
        if both.first().and_then(PollFd::any).unwrap_or(false) {
            return Ok(None);
        }
    }
}

/// What a terminal gives at once is one line (termios(3), canonical mode). Not through Rust's stdin, whose
/// buffer keeps what was typed.
fn read() -> io::Result<String> {
    let mut buffer = [0; 4096];
    let count = loop {
        match nix::unistd::read(io::stdin(), &mut buffer) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    let typed = std::str::from_utf8(buffer.get(..count).unwrap_or_default()).map_err(io::Error::other)?;
    Ok(typed.trim_end_matches(['\n', '\r']).to_owned())
}
