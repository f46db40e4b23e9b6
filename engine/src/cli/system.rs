//! `hull system ...`.

use clap::{Args, Subcommand};

use super::Exit;
use super::system_check::{self, CheckArgs};
use super::system_df::{self, DfArgs};
use super::system_prune::{self, PruneArgs};
use crate::context::Context;
use crate::store::Store;
use crate::system;
use crate::text::escape;

#[derive(Debug, Subcommand)]
pub enum SystemCommand {
    /// Check every file of the images, and repair those that are damaged
    Check(CheckArgs),
    /// Show what images, containers and volumes take on the disk
    Df(DfArgs),
    /// Remove stopped containers, and images without a name
    Prune(PruneArgs),
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
        SystemCommand::Check(args) => system_check::check(context, args),
        SystemCommand::Df(args) => system_df::df(context, args),
        SystemCommand::Prune(args) => system_prune::prune(context, args),
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
