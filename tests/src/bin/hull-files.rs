//! Tries a file system from inside of a container, see [`hull_tests::files`]:
//!
//! ```text
//!   hull-files check FOLDER [NAME...]     every check but those named; a line each that fails, and exit code 1
//!   hull-files model FOLDER SEED STEPS    random changes beside a model in memory
//!   hull-files handle FILE                open_by_handle_at(2) by the handle of another file system's root
//!   hull-files connect SOCKET             prints what a server says
//!   hull-files fine                       nothing
//! ```

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use hull_tests::files;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let failed = match words[..] {
        ["fine"] => Ok(Vec::new()),
        ["check", folder, ref without @ ..] => files::run(Path::new(folder), without),
        ["model", folder, seed, steps] => match (seed.parse(), steps.parse()) {
            (Ok(seed), Ok(steps)) => files::model::run(Path::new(folder), seed, steps).map(|()| Vec::new()),
            _ => Ok(vec![format!("{seed} or {steps} is not a number")]),
        },
        ["handle", path] => files::handles::escape(Path::new(path)),
        ["connect", path] => UnixStream::connect(path).and_then(io::read_to_string).map(|text| {
            print!("{text}");
            Vec::new()
        }),
        _ => Ok(vec!["usage: hull-files check|model|handle|connect|fine ..., see its source".to_owned()]),
    };
    let failed = failed.unwrap_or_else(|error| vec![error.to_string()]);
    for line in &failed {
        println!("{line}");
    }
    ExitCode::from(u8::from(!failed.is_empty()))
}
