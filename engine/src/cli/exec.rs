//! `hull exec` and `hull debug`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use hull_guest::protocol::{ExecPlace, Text};

use super::container_args::absolute;
use super::run::NoTerminal;
use super::{Exit, Failure};
use crate::container::exec::{self, Asked, ExecError};
use crate::context::Context;
use crate::session::detach;
use crate::terminal;

#[derive(Debug, Args)]
// As with docker, the last of an option given twice counts.
#[command(args_override_self = true)]
pub struct ExecArgs {
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Keep stdin open and pass it on
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Set a variable; without a value it is taken from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Read variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// User to run as, looked up in the container [default: the container's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<OsString>,
    /// Folder to start in [default: the container's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<OsString>,
    /// With every capability, and without the system call filter
    #[arg(long)]
    privileged: bool,
    /// Keys that leave the command running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Name, id or start of an id
    container: String,
    /// Command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "COMMAND")]
    args: Vec<OsString>,
}

pub fn exec(context: &Context, args: ExecArgs) -> Exit {
    let asked = Asked {
        args: args.args.into_iter().map(Text::from).collect(),
        env: args.env,
        env_files: args.env_file,
        workdir: args.workdir.filter(|dir| !dir.is_empty()).map(|dir| absolute(&dir)).transpose()?,
        user: args.user.filter(|user| !user.is_empty()).map(Text::from),
        interactive: args.interactive,
        terminal: args.tty.then(|| terminal::size(&std::io::stdout())),
        privileged: args.privileged,
        detached: args.detach,
        detach_keys: detach::parse(args.detach_keys.as_deref().unwrap_or(detach::DEFAULT))?,
        place: ExecPlace::Container,
    };
    run(context, &args.container, &asked)
}

#[derive(Debug, Args)]
pub struct DebugArgs {
    /// Name, id or start of an id
    container: String,
    /// Command and its arguments [default: the container's shell]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    args: Vec<OsString>,
}

/// A shell in the guest, beside the container: its files, and the machine's network and processes. Of the
/// latter the container's /proc shows only its own; one mounted from here shows all.
pub fn debug(context: &Context, args: DebugArgs) -> Exit {
    let on_terminal = terminal::is_terminal(&std::io::stdin()) && terminal::is_terminal(&std::io::stdout());
    let mut words: Vec<Text> = args.args.into_iter().map(Text::from).collect();
    if words.is_empty() {
        words.push("/bin/sh".into());
    }
    let asked = Asked {
        args: words,
        env: Vec::new(),
        env_files: Vec::new(),
        workdir: Some("/".into()),
        user: Some("0".into()),
        interactive: true,
        terminal: on_terminal.then(|| terminal::size(&std::io::stdout())),
        privileged: true,
        detached: false,
        detach_keys: detach::parse(detach::DEFAULT)?,
        place: ExecPlace::Beside,
    };
    run(context, &args.container, &asked)
}

fn run(context: &Context, container: &str, asked: &Asked) -> Exit {
    let from_terminal = terminal::is_terminal(&std::io::stdin());
    if !asked.detached && asked.terminal.is_some() && asked.interactive && !from_terminal {
        return Err(NoTerminal.into());
    }
    exec::run(context, container, asked).map_err(|error: ExecError| {
        // In the background there is no process whose code this could be.
        let code = if asked.detached { 1 } else { error.exit_code() };
        Failure { code, error: error.into() }
    })
}
