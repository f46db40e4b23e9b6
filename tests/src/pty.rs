//! `hull` on a pseudo terminal, as a person has it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::command::{Container, Hull, contains, environment, exit_code, wait_within};
use crate::paths;

/// A running `hull` whose stdin, stdout and stderr are one terminal, which also controls it.
pub struct Terminal {
    master: File,
    slave: OwnedFd,
    child: Child,
    chunks: Receiver<Vec<u8>>,
    /// All that was printed, and how much of it `expect` has passed.
    printed: Vec<u8>,
    passed: usize,
    container: Option<Container>,
    env: Vec<(OsString, OsString)>,
}

impl Terminal {
    /// Starts `hull` on a terminal of that size.
    pub fn start(mut hull: Hull, columns: u16, rows: u16) -> Terminal {
        let size = winsize(columns, rows);
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        for set in
            [std::process::Command::stdin, std::process::Command::stdout, std::process::Command::stderr]
        {
            set(&mut hull.command, Stdio::from(slave.try_clone().unwrap()));
        }
        // SAFETY: setsid(2) and ioctl(2) are async-signal-safe; stdin is the terminal by then.
        unsafe {
            hull.command.pre_exec(|| {
                nix::unistd::setsid()?;
                nix::errno::Errno::result(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
                Ok(())
            });
        }
        let child = hull.command.spawn().unwrap();
        let env = environment(&hull.command);
        let mut reader = File::from(master.try_clone().unwrap());
        let (sender, chunks) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal {
            master: File::from(master),
            slave,
            child,
            chunks,
            printed: Vec::new(),
            passed: 0,
            container: hull.container,
            env,
        }
    }

    /// Types.
    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until `text` is printed behind what was expected before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + paths::patience();
        while !contains(&self.printed[self.passed..], text.as_bytes()) {
            match self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(chunk) => self.printed.extend(chunk),
                Err(e) => panic!("{text:?} did not come ({e}); the terminal shows\n{}", self.shows()),
            }
        }
        let found =
            self.printed[self.passed..].windows(text.len()).position(|w| w == text.as_bytes()).unwrap();
        self.passed += found + text.len();
    }

    /// Waits for `prompt`, types `answer`, waits for `hull` to end.
    #[track_caller]
    pub fn finish_after(&mut self, prompt: &str, answer: &str) -> i32 {
        self.expect(prompt);
        self.send(answer);
        self.finish()
    }

    /// Gives the terminal another size; its foreground processes get SIGWINCH.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = winsize(columns, rows);
        // SAFETY: TIOCSWINSZ (ioctl_tty(2)) reads one winsize, which lives through the call.
        let result = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        nix::errno::Errno::result(result).unwrap();
    }

    /// Whether the terminal echoes what is typed: not while `hull` has it in raw mode.
    pub fn echoes(&self) -> bool {
        tcgetattr(&self.slave).unwrap().local_flags.contains(LocalFlags::ECHO)
    }

    /// Waits for `hull` to end and returns its exit code.
    #[track_caller]
    pub fn finish(&mut self) -> i32 {
        match wait_within(&mut self.child, paths::patience()) {
            Some(status) => exit_code(status),
            None => panic!("hull still runs; the terminal shows\n{}", self.shows()),
        }
    }

    /// All that was printed so far, by hull and by the container.
    pub fn shows(&mut self) -> String {
        self.printed.extend(self.chunks.try_iter().flatten());
        String::from_utf8_lossy(&self.printed).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let ended = matches!(self.child.try_wait(), Ok(Some(_)));
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let (Some(container), false) = (&self.container, ended) {
            container.kill(&self.env);
        }
    }
}

fn winsize(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
