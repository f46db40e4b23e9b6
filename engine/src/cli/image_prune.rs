//! `hull image prune`.

use clap::Args;

use super::confirm::confirmed;
use super::output::{self, human_size};
use super::rmi::familiar;
use super::{Exit, swept};
use crate::context::Context;
use crate::image::Naming;
use crate::image::prune::{self, FILTERS, Pruned};
use crate::text::escape;

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Images with names, too, if no container was made of them
    #[arg(short, long)]
    all: bool,
    /// Only those that match: until, label, label!
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub fn prune(context: &Context, args: &PruneArgs) -> Exit {
    let filters = output::filters(&args.filter, &FILTERS)?;
    let warning = match args.all {
        true => "This will remove all images without at least one container associated to them.",
        false => "This will remove all dangling images.",
    };
    if !args.force && !confirmed(warning)? {
        return Ok(0);
    }
    let pruned = prune::prune(&swept(context)?, args.all, &filters)?;
    let text = removed(&pruned, &context.config.short_names);
    output::print(&format!("{text}Total reclaimed space: {}\n", human_size(pruned.bytes)))
}

/// The images that went, as docker lists them, and an empty line; nothing if none did.
pub fn removed(pruned: &Pruned, naming: &Naming) -> String {
    if pruned.removed.is_empty() {
        return String::new();
    }
    let mut text = "Deleted Images:\n".to_owned();
    for removed in &pruned.removed {
        for name in &removed.untagged {
            text += &format!("untagged: {}\n", escape(&familiar(naming, name)));
        }
        for id in removed.deleted.iter().chain(&removed.layers) {
            text += &format!("deleted: {id}\n");
        }
    }
    text + "\n"
}
