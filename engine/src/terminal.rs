//! The caller's terminal: its size, and raw mode that ends with its guard.

use std::os::fd::{AsFd, AsRawFd};

use hull_guest::protocol::TerminalSize;
use nix::sys::termios::{LocalFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

nix::ioctl_read_bad!(tiocgwinsz, libc::TIOCGWINSZ, libc::winsize);

pub fn is_terminal(fd: &impl AsFd) -> bool {
    std::io::IsTerminal::is_terminal(&fd.as_fd())
}

/// Columns and rows; 80 by 24 where `fd` is no terminal or does not know.
pub fn size(fd: &impl AsFd) -> TerminalSize {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize to the pointer, which is valid for that.
    let asked = unsafe { tiocgwinsz(fd.as_fd().as_raw_fd(), &raw mut size) };
    match asked {
        Ok(_) if size.ws_col > 0 && size.ws_row > 0 => {
            TerminalSize { columns: size.ws_col, rows: size.ws_row }
        }
        _ => TerminalSize { columns: 80, rows: 24 },
    }
}

/// stdin in raw mode: every key goes to the container. Dropping it gives the terminal back.
#[derive(Debug)]
pub struct RawMode(Termios);

impl RawMode {
    /// None where stdin is no terminal.
    pub fn enter() -> Option<RawMode> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&stdin, SetArg::TCSANOW, &raw).ok()?;
        Some(RawMode(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

/// stdin without echo, for passwords. Dropping it gives the terminal back.
#[derive(Debug)]
pub struct Silenced(Termios);

impl Silenced {
    pub fn enter() -> nix::Result<Silenced> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&stdin, SetArg::TCSANOW, &silent)?;
        Ok(Silenced(before))
    }
}

impl Drop for Silenced {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
