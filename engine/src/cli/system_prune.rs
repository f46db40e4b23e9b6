//! `hull system prune`.

use clap::Args;

use super::confirm::confirmed;
use super::output::{self, human_size};
use super::{Exit, image_prune, swept};
use crate::container::config::Config;
use crate::container::{life, written};
use crate::context::Context;
use crate::format::filter::Filters;
use crate::image::prune;
use crate::network::catalog;
use crate::store::{ContainerRow, ContainerState, Store};
use crate::text::escape;
use crate::volume;

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// All images that no container was made of, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Volumes without a name that no container was made with, too
    #[arg(long)]
    volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub fn prune(context: &Context, args: &PruneArgs) -> Exit {
    let images = match args.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    let volumes = match args.volumes {
        true => "  - all anonymous volumes not used by at least one container\n",
        false => "",
    };
    let warning = format!(
        "This will remove:\n  - all stopped containers that are in no pod\n  - all networks not used by at least one container\n{volumes}  - {images}\n"
    );
    if !args.force && !confirmed(&warning)? {
        return Ok(0);
    }
    let store = swept(context)?;
    let (mut text, mut bytes, mut code) = (String::new(), 0_u64, 0);
    for row in store.db().containers()?.iter().filter(|row| is_stopped(row)) {
        let size = size(&store, row);
        match life::remove(&store, row, life::Removal::default()) {
            Ok(()) => {
                text += &format!("{}\n", row.id);
                bytes = bytes.saturating_add(size);
            }
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                eprintln!("hull: {}: {}", escape(&row.name), escape(&error));
                code = 1;
            }
        }
    }
    if !text.is_empty() {
        text = format!("Deleted Containers:\n{text}\n");
    }
    text += &super::network::removed(&catalog::prune(&store, &Filters::default())?);
    if args.volumes {
        let pruned = volume::prune::prune(&store, false, &Filters::default())?;
        text += &super::volume::removed(&pruned);
        bytes = bytes.saturating_add(pruned.bytes);
    }
    let pruned = prune::prune(&store, args.all, &Filters::default())?;
    text += &image_prune::removed(&pruned, &context.config.short_names);
    bytes = bytes.saturating_add(pruned.bytes);
    output::print(&format!("{text}Total reclaimed space: {}\n", human_size(bytes)))?;
    Ok(code)
}

/// A pod's members stay with it.
fn is_stopped(row: &ContainerRow) -> bool {
    let ended = matches!(row.state, ContainerState::Created | ContainerState::Exited | ContainerState::Dead);
    ended && row.pod.is_none()
}

/// What it has written, as far as that is known.
fn size(store: &Store, row: &ContainerRow) -> u64 {
    let config = Config::from_row(row).ok();
    config.and_then(|config| written::bytes(store, row, &config).ok().flatten()).unwrap_or(0)
}
