//! `hull volume ...`, with docker's words.

use clap::{Args, Subcommand};

use super::confirm::confirmed;
use super::output::human_size;
use super::{Exit, Failure, for_each, inspect, output, swept, volume_list};
use crate::container::create::labels;
use crate::context::Context;
use crate::text::escape;
use crate::volume::VolumeError;
use crate::volume::catalog::{self, Wanted};
use crate::volume::prune::{self, FILTERS, Pruned};

#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// Make a volume
    Create(CreateArgs),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(volume_list::ListArgs),
    /// Show everything about volumes
    Inspect(InspectArgs),
    /// Remove volumes that no container was made with
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
    /// Remove volumes without a name that no container was made with
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Who keeps it: local, or a volume plugin's name
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    driver: String,
    /// Attach a label
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Option of the driver; of local type=, o= and device= as mount(8) has them, or kind=block with size=10g: a disk
    /// with a file system of its own
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Its name [default: 64 hexadecimal digits]
    #[arg(value_name = "VOLUME")]
    volume: Option<String>,
    /// The same, as docker had it before.
    #[arg(long, value_name = "NAME", hide = true)]
    name: Option<String>,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A template, for each volume
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// What is not there is no failure, nor is a plugin that does not remove its own
    #[arg(short, long)]
    force: bool,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Those with a name of their own, too
    #[arg(short, long)]
    all: bool,
    /// Only those that match: label, label!, all
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub fn volume(context: &Context, command: VolumeCommand) -> Exit {
    match command {
        VolumeCommand::Create(args) => create(context, args),
        VolumeCommand::Ls(args) => volume_list::list(context, &args),
        VolumeCommand::Inspect(args) => inspect::volumes(context, args.format.as_deref(), &args.volumes),
        VolumeCommand::Rm(args) => remove(context, &args),
        VolumeCommand::Prune(args) => prune(context, &args),
    }
}

fn create(context: &Context, args: CreateArgs) -> Exit {
    // As docker's: an empty name is none.
    let name = args.name.filter(|name| !name.is_empty());
    if name.is_some() && args.volume.is_some() {
        const TWICE: &str =
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg";
        return Err(Failure { code: 1, error: anyhow::anyhow!(TWICE) });
    }
    let wanted = Wanted {
        name: args.volume.filter(|name| !name.is_empty()).or(name),
        goes_with: None,
        driver: Some(args.driver),
        labels: labels(&args.label),
        options: labels(&args.opt),
    };
    let row = catalog::ensure(&swept(context)?, wanted)?;
    println!("{}", row.name);
    Ok(0)
}

fn remove(context: &Context, args: &RemoveArgs) -> Exit {
    let store = swept(context)?;
    for_each(&args.volumes, |name| {
        match catalog::remove(&store, name, args.force) {
            Err(error) if args.force && error.is_not_found() => {}
            outcome => outcome?,
        }
        Ok::<_, VolumeError>(name.to_owned())
    })
}

fn prune(context: &Context, args: &PruneArgs) -> Exit {
    let filters = output::filters(&args.filter, &FILTERS)?;
    let all = args.all || filters.flag("all")?.unwrap_or(false);
    let warning = match all {
        true => "This will remove all local volumes not used by at least one container.",
        false => "This will remove anonymous local volumes not used by at least one container.",
    };
    if !args.force && !confirmed(warning)? {
        return Ok(0);
    }
    let pruned = prune::prune(&swept(context)?, all, &filters)?;
    output::print(&format!("{}Total reclaimed space: {}\n", removed(&pruned), human_size(pruned.bytes)))
}

/// The volumes that went, as docker lists them, and an empty line; nothing if none did.
pub fn removed(pruned: &Pruned) -> String {
    if pruned.names.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = pruned.names.iter().map(|name| escape(name).to_string()).collect();
    format!("Deleted Volumes:\n{}\n\n", lines.join("\n"))
}
