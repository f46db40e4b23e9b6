//! `hull-fs`: serves the shared folders of one sandbox to its virtual machine, over virtio-fs.
//!
//! Two processes. The *stager* is the only one that can mount; it takes the supervisor's commands and never
//! hears a guest. The *server* is its child: it speaks to the machine, sees nothing but what the stager has
//! mounted below its root, and can name nothing else.

mod capabilities;
mod filter;
mod log;
mod namespaces;
mod server;
mod shares;
mod stager;
mod staging;

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

const USAGE: &str = "\
hull-fs: serves the shared folders of one sandbox over virtio-fs

Usage:
  hull-fs --control-fd N --listen-fd M [--max-files F]
                             N: the supervisor's end of shares coming and going (SOCK_SEQPACKET)
                             M: a listening socket, where the machine's monitor connects (vhost-user)
                             F: files it has open at most; one is open for each that the guest remembers
  hull-fs --version
  hull-fs --help

It ends when either closes.
";

/// The kernel's own default for how far the limit of open files may be raised (proc_sys_fs(5), nr_open).
const MAX_FILES: u64 = 1 << 20;
/// Descriptors below are standard input, output and error, which stay.
const FIRST_FREE: RawFd = 3;

#[derive(Debug, thiserror::Error)]
enum UsageError {
    #[error("{0:?} is not understood; try --help")]
    Argument(OsString),
    #[error("--control-fd and --listen-fd are needed, or --version or --help")]
    Nothing,
    #[error("{0} needs the number of a descriptor above 2, another than the other's")]
    Number(&'static str),
    #[error("--max-files needs a number")]
    MaxFiles,
    #[error("Failed to close inherited descriptors")]
    Close(#[source] io::Error),
}

enum Task {
    Serve { control: RawFd, listener: RawFd, max_files: u64 },
    Version,
    Help,
}

fn main() -> ExitCode {
    match parse(std::env::args_os().skip(1)) {
        Ok(Task::Serve { control, listener, max_files }) => serve(control, listener, max_files),
        Ok(Task::Version) => {
            println!("hull-fs {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Ok(Task::Help) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn serve(control: RawFd, listener: RawFd, max_files: u64) -> ExitCode {
    // SAFETY: nothing else here has opened anything yet.
    if let Err(error) = unsafe { close_all_but(control, listener) } {
        return fail(&UsageError::Close(error));
    }
    // SAFETY: whoever started this process says that they are for this; a wrong number fails later.
    let (control, listener) = unsafe { (OwnedFd::from_raw_fd(control), OwnedFd::from_raw_fd(listener)) };
    match stager::run(control, listener, max_files) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Task, UsageError> {
    let (mut control, mut listener, mut max_files) = (None, None, MAX_FILES);
    while let Some(argument) = arguments.next() {
        let (slot, option) = match argument.to_str() {
            Some("--control-fd") => (&mut control, "--control-fd"),
            Some("--listen-fd") => (&mut listener, "--listen-fd"),
            Some("--max-files") => {
                let number = arguments.next().and_then(|number| number.to_str()?.parse().ok());
                max_files = number.map(|files: u64| files.min(MAX_FILES)).ok_or(UsageError::MaxFiles)?;
                continue;
            }
            Some("--version" | "-V") => return Ok(Task::Version),
            Some("--help" | "-h") => return Ok(Task::Help),
            _ => return Err(UsageError::Argument(argument)),
        };
        let number = arguments.next().and_then(|number| number.to_str()?.parse().ok());
        *slot = Some(number.filter(|fd| *fd >= FIRST_FREE).ok_or(UsageError::Number(option))?);
    }
    match (control, listener) {
        (Some(control), Some(listener)) if control == listener => Err(UsageError::Number("--listen-fd")),
        (Some(control), Some(listener)) => Ok(Task::Serve { control, listener, max_files }),
        _ => Err(UsageError::Nothing),
    }
}

/// Closes what was inherited besides standard input, output, error and these two.
///
/// # Safety
///
/// Nobody owns what is closed.
unsafe fn close_all_but(one: RawFd, other: RawFd) -> io::Result<()> {
    let (lower, upper) = (one.min(other).cast_unsigned(), one.max(other).cast_unsigned());
    for (first, last) in
        [(FIRST_FREE.cast_unsigned(), lower - 1), (lower + 1, upper - 1), (upper + 1, u32::MAX)]
    {
        // SAFETY: close_range(2) takes numbers; the caller says that nobody owns these.
        if first <= last && unsafe { libc::close_range(first, last, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// An error and its causes, on one line.
fn fail(error: &dyn Error) -> ExitCode {
    eprintln!("hull-fs: {}", chain(error));
    ExitCode::FAILURE
}

fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Task, UsageError> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn both_descriptors_are_needed() {
        let task = parsed(&["--listen-fd", "4", "--control-fd", "3"]).unwrap();
        assert!(matches!(task, Task::Serve { control: 3, listener: 4, max_files: MAX_FILES }));
        for words in [&[][..], &["--control-fd", "3"], &["--listen-fd", "3"]] {
            assert!(matches!(parsed(words), Err(UsageError::Nothing)), "{words:?}");
        }
    }

    #[test]
    fn files_are_limited_to_what_is_asked_for_and_what_the_kernel_gives() {
        let most =
            |number: &str| match parsed(&["--max-files", number, "--listen-fd", "4", "--control-fd", "3"]) {
                Ok(Task::Serve { max_files, .. }) => Some(max_files),
                Err(UsageError::MaxFiles) => None,
                _ => panic!("{number:?}"),
            };
        assert_eq!((most("5000"), most("18446744073709551615")), (Some(5000), Some(MAX_FILES)));
        assert_eq!((most("many"), most("-1")), (None, None));
        assert!(matches!(parsed(&["--max-files"]), Err(UsageError::MaxFiles)));
    }

    #[test]
    fn descriptors_that_cannot_be_are_refused() {
        for number in ["2", "-1", "x", ""] {
            let words = ["--listen-fd", "4", "--control-fd", number];
            assert!(matches!(parsed(&words), Err(UsageError::Number("--control-fd"))), "{number:?}");
        }
        let same = parsed(&["--listen-fd", "4", "--control-fd", "4"]);
        assert!(matches!(same, Err(UsageError::Number("--listen-fd"))));
        assert!(matches!(parsed(&["--share"]), Err(UsageError::Argument(_))));
    }
}
