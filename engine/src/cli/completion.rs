//! `hull completion`, and the man pages that `make install` asks for: both from the command line's own
//! definition.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::{generate, shells};

use super::{Cli, Exit, output};

#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// Shell that reads it
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder to write to, made if missing
    dir: PathBuf,
}

pub fn completion(args: &CompletionArgs) -> Exit {
    let (mut command, mut script) = (Cli::command(), Vec::new());
    match args.shell {
        Shell::Bash => generate(shells::Bash, &mut command, "hull", &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, "hull", &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, "hull", &mut script),
    }
    output::print(&String::from_utf8_lossy(&script))
}

/// A page a command: `hull.1`, `hull-run.1`, ...
pub fn man(args: &ManArgs) -> Exit {
    let dir = &args.dir;
    fs::create_dir_all(dir).with_context(|| format!("Failed to make {}", dir.display()))?;
    clap_mangen::generate_to(Cli::command(), dir)
        .with_context(|| format!("Failed to write man pages to {}", dir.display()))?;
    Ok(0)
}
