//! `hull-vmm`: reads a config, becomes the machine, tells how it ended.

use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, RawFd};
use std::process::ExitCode;

use hull_vmm::config::{ConfigError, ValidConfig, VmConfig};
use hull_vmm::files::close_all_but;
use hull_vmm::kvm::probe;

const USAGE: &str = "\
hull-vmm: one process, one virtual machine

Usage:
  hull-vmm --config FILE     run the machine that the JSON in FILE describes
  hull-vmm --config-fd N     the same, read from descriptor N
  hull-vmm --probe           tell, as a line of JSON, whether KVM here can run a guest
  hull-vmm --version
  hull-vmm --help

Exit code: 0 if the guest shut the machine down in good order, 1 for every other end.
";
/// Bytes of a config; one with every disk at its most segments takes about 2 MiB.
const MAX_CONFIG: u64 = 4 << 20;

#[derive(Debug, thiserror::Error)]
enum UsageError {
    #[error("{0:?} is not understood; try --help")]
    Argument(OsString),
    #[error("one of --config, --config-fd, --probe, --version and --help is needed; try --help")]
    Nothing,
    #[error("{0} needs a value")]
    Value(&'static str),
    #[error("--config-fd needs the number of a descriptor")]
    Number,
    #[error("Failed to read the config {0:?}")]
    Read(OsString, #[source] io::Error),
    #[error("Failed to read the config from descriptor {0}")]
    ReadFd(RawFd, #[source] io::Error),
    #[error("The config is longer than {MAX_CONFIG} bytes")]
    TooLong,
    #[error("The config is not valid")]
    Parse(#[source] serde_json::Error),
    #[error("The config asks for what cannot be")]
    Invalid(#[source] ConfigError),
    #[error("Failed to close inherited descriptors")]
    Close(#[source] io::Error),
}

enum Task {
    Run(Source),
    Probe,
    Version,
    Help,
}

enum Source {
    Path(OsString),
    Fd(RawFd),
}

fn main() -> ExitCode {
    share_one_heap();
    match parse(std::env::args_os().skip(1)) {
        Ok(Task::Run(source)) => match read_config(source) {
            Ok(config) => run(&config),
            Err(error) => fail(&error),
        },
        Ok(Task::Probe) => probe::print_and_exit(),
        Ok(Task::Version) => {
            println!("hull-vmm {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Ok(Task::Help) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Task, UsageError> {
    let first = arguments.next().ok_or(UsageError::Nothing)?;
    let task = match first.to_str() {
        Some("--config") => Task::Run(Source::Path(arguments.next().ok_or(UsageError::Value("--config"))?)),
        Some("--config-fd") => {
            let number = arguments.next().ok_or(UsageError::Value("--config-fd"))?;
            let number = number.to_str().and_then(|number| number.parse().ok());
            Task::Run(Source::Fd(number.filter(|fd| *fd >= 0).ok_or(UsageError::Number)?))
        }
        Some("--probe") => Task::Probe,
        Some("--version" | "-V") => Task::Version,
        Some("--help" | "-h") => Task::Help,
        _ => return Err(UsageError::Argument(first)),
    };
    match arguments.next() {
        Some(surplus) => Err(UsageError::Argument(surplus)),
        None => Ok(task),
    }
}

fn read_config(source: Source) -> Result<ValidConfig, UsageError> {
    let mut text = Vec::new();
    let read = |file: File, text: &mut Vec<u8>| file.take(MAX_CONFIG + 1).read_to_end(text);
    match source {
        Source::Path(path) => {
            let result = File::open(&path).and_then(|file| read(file, &mut text));
            result.map_err(|source| UsageError::Read(path, source))?;
        }
        Source::Fd(fd) => {
            // SAFETY: whoever started this process says that the descriptor is for the config; a
            // wrong number fails the read below. Nothing else here has opened anything yet.
            let file = unsafe { File::from_raw_fd(fd) };
            read(file, &mut text).map_err(|source| UsageError::ReadFd(fd, source))?;
        }
    }
    if text.len() as u64 > MAX_CONFIG {
        return Err(UsageError::TooLong);
    }
    let config: VmConfig = serde_json::from_slice(&text).map_err(UsageError::Parse)?;
    let config = config.validate().map_err(UsageError::Invalid)?;
    // SAFETY: the config is read and closed, and nothing else has been opened.
    unsafe { close_all_but(config.descriptors()) }.map_err(UsageError::Close)?;
    Ok(config)
}

fn run(config: &ValidConfig) -> ExitCode {
    if !config.is_jailed() {
        eprintln!("hull-vmm: the config names no jail: the guest's machine has all rights of its user");
    }
    let cause = hull_vmm::run(config);
    if !cause.is_orderly() && !config.is_supervised() {
        eprintln!("hull-vmm: {cause}");
    }
    if cause.is_orderly() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One heap for all threads, where glibc would make one for each that allocates: they allocate little,
/// and each heap costs private memory and the set-up of a mapping.
fn share_one_heap() {
    // SAFETY: sets a number in the allocator, before there is a second thread.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// An error and its causes, on one line.
fn fail(error: &dyn Error) -> ExitCode {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    eprintln!("hull-vmm: {text}");
    ExitCode::FAILURE
}
