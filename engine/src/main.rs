use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use hull_engine::cli::Cli;
use hull_engine::text::escape;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.execute() {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let chain: Vec<String> = failure.error.chain().map(|cause| escape(&cause.to_string()).to_string()).collect();
            eprintln!("hull: {}", chain.join(": "));
            ExitCode::from(failure.code)
        }
    }
}

/// Help and version are answers; everything else is a mistake: 125 from `run`, as docker's.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ if std::env::args_os().any(|word| word == "run") => ExitCode::from(125),
        _ => ExitCode::from(1),
    }
}
