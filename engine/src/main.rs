use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use hull_engine::cli::Cli;
use hull_engine::text::escape;
use hull_engine::{rootless, supervisor};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    // Not commands for people, and on the path of every start: the command line's parser is not asked.
    match words.next() {
        Some(word) if word == supervisor::COMMAND => return served(supervisor::main(words)),
        Some(word) if word == rootless::HOLD => return served(rootless::hold::main(words)),
        _ => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.execute() {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let chain: Vec<String> =
                failure.error.chain().map(|cause| escape(&cause.to_string()).to_string()).collect();
            eprintln!("hull: {}", chain.join(": "));
            ExitCode::from(failure.code)
        }
    }
}

fn served(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hull: {}", escape(&error));
            ExitCode::FAILURE
        }
    }
}

/// Help and version are answers; everything else is a mistake, told in one line. The codes are docker's: 125
/// for an option that is not known, and for all of `run`'s; 1 for the rest.
fn usage(error: &clap::Error) -> ExitCode {
    if let ErrorKind::DisplayHelp | ErrorKind::DisplayVersion = error.kind() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    // clap's own text goes on with tips and the usage, each in a paragraph of its own.
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let run = std::env::args_os().any(|word| word == "run");
    eprintln!("hull: {} (see hull {}--help)", escape(&line), if run { "run " } else { "" });
    let option = error.kind() == ErrorKind::UnknownArgument;
    ExitCode::from(if run || option { 125 } else { 1 })
}
