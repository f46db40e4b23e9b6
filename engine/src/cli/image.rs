//! `hull image ...`.

use clap::{Args, Subcommand};

use super::history::{self, HistoryArgs};
use super::image_prune::{self, PruneArgs};
use super::images::{self, ListArgs};
use super::import::{self, ImportArgs};
use super::load::{self, LoadArgs};
use super::pull::{self, PullArgs};
use super::push::{self, PushArgs};
use super::rmi::{self, RemoveArgs};
use super::save::{self, SaveArgs};
use super::tag::{self, TagArgs};
use super::{Exit, inspect};
use crate::context::Context;

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Show of what an image was made
    History(HistoryArgs),
    /// Make an image of a root file system's tar archive
    Import(ImportArgs),
    /// Show what is known of images, as JSON
    Inspect(InspectArgs),
    /// Load images from an archive or a folder (docker-archive or OCI layout)
    Load(LoadArgs),
    /// List images
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Remove images that nobody uses
    Prune(PruneArgs),
    /// Fetch an image from a registry
    Pull(PullArgs),
    /// Push images to a registry
    Push(PushArgs),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
    /// Write images to a tar archive, for hull, docker, podman and skopeo to load
    Save(SaveArgs),
    /// Give an image another name
    Tag(TagArgs),
}

#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct InspectArgs {
    /// What to show, as a Go template: '{{.Id}}', '{{json .Config}}', json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub fn image(context: &Context, command: ImageCommand) -> Exit {
    match command {
        ImageCommand::History(args) => history::history(context, &args),
        ImageCommand::Import(args) => import::import(context, &args),
        ImageCommand::Inspect(args) => inspect::images(context, args.format.as_deref(), &args.images),
        ImageCommand::Load(args) => load::load(context, &args),
        ImageCommand::Ls(args) => images::list(context, &args),
        ImageCommand::Prune(args) => image_prune::prune(context, &args),
        ImageCommand::Pull(args) => pull::pull(context, &args),
        ImageCommand::Push(args) => push::push(context, &args),
        ImageCommand::Rm(args) => rmi::remove(context, &args),
        ImageCommand::Save(args) => save::save(context, &args),
        ImageCommand::Tag(args) => tag::tag(context, &args),
    }
}
