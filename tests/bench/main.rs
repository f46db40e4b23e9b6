//! The small tool behind `tests/bench/run`: times programs, weighs them, makes the guests they boot.
//!
//!     hull-bench once [--until TEXT] -- COMMAND...   nanoseconds from before fork to the end of the
//!                                                    command, or to the byte that completes TEXT
//!                                                    in its output (it is then killed)
//!     hull-bench uss PID                             KiB of private memory without guest memory
//!     hull-bench nano FILE                           writes a guest kernel of one store and a halt
//!     hull-bench initrd FILE                         writes an initramfs that says READY and waits
//!     hull-bench plug VMM CONFIG TAP                 runs a machine whose network device is plugged into TAP
//!     hull-bench share VMM CONFIG HULL-FS FOLDER     runs a machine that FOLDER is shared with
//!     hull-bench pong ADDRESS:PORT                   sends back what comes
//!     hull-bench ping ADDRESS:PORT SECONDS           round trips of a byte in a second, to a pong

mod guests;
mod once;
mod pingpong;
mod plug;
mod share;
mod uss;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["once", "--until", text, "--", command @ ..] => once::once(command, Some(text)),
        ["once", "--", command @ ..] => once::once(command, None),
        ["uss", pid] => uss::uss(pid),
        ["nano", file] => {
            std::fs::write(file, guests::nano_kernel()).map_err(Into::into).map(|()| String::new())
        }
        ["initrd", file] => {
            std::fs::write(file, guests::initrd()).map_err(Into::into).map(|()| String::new())
        }
        ["plug", vmm, config, tap] => plug::plug(vmm, config, tap),
        ["share", vmm, config, server, folder] => share::share(vmm, config, server, folder),
        ["pong", address] => pingpong::pong(address).map_err(Into::into),
        ["ping", address, seconds] => pingpong::ping(address, seconds).map_err(Into::into),
        _ => Err(anyhow::anyhow!("see the head of tests/bench/main.rs")),
    };
    match result {
        Ok(line) => {
            print!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hull-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
