//! `hull-init`: PID 1 of a virtual machine, or with `--host` the agent of namespace mode.

#![no_main]

use hull_guest::protocol::CallError;
use hull_guest::{boot, host};

/// The C library's entry. Rust's own would first want descriptors 0 to 2, and end the process where
/// there is no /dev/null to put there: in an initramfs nothing is there yet.
// SAFETY: no other `main` is linked into this binary, and this one has the signature C expects.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: libc::c_int, _argv: *const *const libc::c_char) -> libc::c_int {
    // glibc hands the arguments to the standard library before main.
    let mut args = std::env::args_os().skip(1);
    let served = match args.next().as_deref().and_then(|word| word.to_str()) {
        Some("--host") => host::Descriptors::parse(args).and_then(|descriptors| host::run(&descriptors)),
        Some("--version") => {
            println!("hull-init {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        _ if std::process::id() == 1 => boot::run(),
        _ => host::Descriptors::parse([]).map(drop),
    };
    match served {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("hull-init: {}", CallError::from(error).message);
            1
        }
    }
}
