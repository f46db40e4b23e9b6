//! `hull system ...`.

use clap::{Args, Subcommand};

use super::Exit;
use crate::context::Context;
use crate::store::Store;
use crate::system;
use crate::text::escape;

#[derive(Debug, Subcommand)]
pub enum SystemCommand {
    /// Start the containers whose restart policy asks for it, as after a reboot
    Start(StartArgs),
}

#[derive(Debug, Args)]
pub struct StartArgs {
    /// Stay, and do the same for containers that are killed, until SIGTERM
    #[arg(long)]
    wait: bool,
}

pub fn system(context: &Context, command: &SystemCommand) -> Exit {
    match command {
        SystemCommand::Start(args) => start(context, args),
    }
}

fn start(context: &Context, args: &StartArgs) -> Exit {
    let signals = args.wait.then(system::hold_signals).transpose()?;
    let store = Store::open(&context.root, &context.run)?;
    let mut code = 0;
    for (row, outcome) in system::start(context, &store)? {
        match outcome {
            Ok(()) => println!("{}", escape(&row.name)),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                eprintln!("hull: {}: {}", escape(&row.name), escape(&error));
                code = 1;
            }
        }
    }
    let Some(signals) = signals else { return Ok(code) };
    system::watch(context, &store, &signals, |row| println!("{}", escape(&row.name)))?;
    Ok(0)
}
