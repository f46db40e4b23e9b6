//! `hull run`.

use std::path::PathBuf;

use clap::Args;
use hull_guest::protocol::Stream;

use super::container_args::ContainerArgs;
use super::{Exit, Failure};
use crate::container::run::{self, Manner};
use crate::context::Context;
use crate::session::detach;
use crate::terminal;

#[derive(Debug, Args)]
// As with docker, the last of an option given twice counts.
#[command(disable_help_flag = true, args_override_self = true)]
pub struct RunArgs {
    /// Run in the background and print the id
    #[arg(short, long)]
    detach: bool,
    /// Attach to stdin, stdout or stderr only
    #[arg(short, long, value_name = "STREAM")]
    attach: Vec<StreamName>,
    /// Write the container's id to a file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// Pass signals on to the container
    #[arg(long, value_name = "BOOL", default_value = "true", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, hide_default_value = true, action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// Keys that leave the container running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    #[command(flatten)]
    container: ContainerArgs,
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true, args_override_self = true)]
pub struct CreateArgs {
    /// Write the container's id to a file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    #[command(flatten)]
    container: ContainerArgs,
}

pub fn create(context: &Context, args: CreateArgs) -> Exit {
    let asked = args.container.asked()?;
    println!("{}", run::create(context, asked, args.cidfile.as_deref())?);
    Ok(0)
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum StreamName {
    #[value(alias = "STDIN")]
    Stdin,
    #[value(alias = "STDOUT")]
    Stdout,
    #[value(alias = "STDERR")]
    Stderr,
}

impl From<StreamName> for Stream {
    fn from(name: StreamName) -> Stream {
        match name {
            StreamName::Stdin => Stream::Stdin,
            StreamName::Stdout => Stream::Stdout,
            StreamName::Stderr => Stream::Stderr,
        }
    }
}

pub fn run(context: &Context, args: RunArgs) -> Exit {
    let run = |args: RunArgs| -> Result<u8, anyhow::Error> {
        let manner = manner(&args)?;
        let mut asked = args.container.asked()?;
        asked.stdin_once = !manner.detached;
        Ok(run::run(context, asked, &manner)?)
    };
    run(args).map_err(|error| {
        let code = match error.downcast_ref::<run::RunError>() {
            Some(error) => error.exit_code(),
            None if error.is::<NoTerminal>() || error.is::<NothingToAttachTo>() => 1,
            None => 125,
        };
        Failure { code, error }
    })
}

/// Docker's client sees this by itself, before it has a daemon's error to tell: its code is 1.
#[derive(Debug, thiserror::Error)]
#[error("-it needs a terminal on stdin, which is not a terminal; without one, leave out -t")]
pub struct NoTerminal;

/// As [`NoTerminal`].
#[derive(Debug, thiserror::Error)]
#[error("-d conflicts with -a: in the background there is nothing to attach to")]
struct NothingToAttachTo;

fn manner(args: &RunArgs) -> Result<Manner, anyhow::Error> {
    let container = &args.container;
    if !args.detach && container.tty && container.interactive && !terminal::is_terminal(&std::io::stdin()) {
        return Err(NoTerminal.into());
    }
    if args.detach && !args.attach.is_empty() {
        return Err(NothingToAttachTo.into());
    }
    Ok(Manner {
        detached: args.detach,
        attach: args.attach.iter().copied().map(Stream::from).collect(),
        sig_proxy: args.sig_proxy,
        detach_keys: detach::parse(args.detach_keys.as_deref().unwrap_or(detach::DEFAULT))?,
        cid_file: args.cidfile.clone(),
    })
}
