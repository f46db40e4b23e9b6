//! `--init`: the container's PID 1 stays this program, reaps what is orphaned and passes signals on to
//! the command, its child.

use std::os::fd::AsFd;

use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, set_child_subreaper, setpgid, wait};

use crate::error::{Step, StepError};
use crate::sys::{self, Fork};

/// Returns in the child, which goes on to the command; the parent stays until that ends.
pub fn stay_as_reaper(terminal: bool) -> Result<(), StepError> {
    sys::block_all_signals();
    // In another container's PID namespace it is not PID 1, whom orphans come to.
    set_child_subreaper(Some(getpid())).step("become the reaper")?;
    // SAFETY: this process has one thread; it was forked from one that has.
    match unsafe { sys::fork() }.step("fork the command")? {
        Fork::Child => {
            // A group of its own, so that the terminal's signals reach the command and not the reaper.
            setpgid(None, None).step("start a process group")?;
            if terminal {
                let me = rustix::process::getpid();
                rustix::termios::tcsetpgrp(std::io::stdin().as_fd(), me).step("take the terminal")?;
            }
            sys::reset_signals();
            Ok(())
        }
        Fork::Parent(command) => {
            // The control socket is among them. Its closing tells the agent that the command runs, so
            // only the child may hold it.
            sys::close_all_but(&mut []);
            reap(command)
        }
    }
}

fn reap(command: Pid) -> ! {
    loop {
        match sys::wait_for_signal() {
            libc::SIGCHLD => reap_all(command),
            signal => {
                if let Ok(signal) = u8::try_from(signal) {
                    let _ = sys::kill(command, signal);
                }
            }
        }
    }
}

fn reap_all(command: Pid) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == command {
            sys::exit_now(i32::from(exit_code(status)));
        }
    }
}

/// The code a shell would give: the process's own, or 128 + the signal that ended it.
pub fn exit_code(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    };
    u8::try_from(code).unwrap_or(255)
}
