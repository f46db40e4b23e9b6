//! `hull pull`.

use clap::Args;

use super::progress::{self, Stream};
use super::{Exit, output};
use crate::context::Context;
use crate::image::platform;
use crate::image::pull::{self, Options};
use crate::store::Store;
use crate::text::escape;

#[derive(Debug, Args)]
pub struct PullArgs {
    /// Pull all images of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Platform of the image, if it has several [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Print the image's full name only
    #[arg(short, long)]
    quiet: bool,
    /// Image to pull
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: String,
}

pub fn pull(context: &Context, args: &PullArgs) -> Exit {
    let name = context.config.short_names.parse(&args.name)?;
    // The name is filled up with the tag that is meant.
    let given =
        name.digest.is_some() || name.tag.as_ref().is_some_and(|tag| args.name.ends_with(&format!(":{tag}")));
    if args.all_tags && given {
        return Err(anyhow::anyhow!("-a pulls every tag, so the name takes none: {}", args.name).into());
    }
    let options = Options {
        platform: args.platform.as_deref().map(platform::parse).transpose()?,
        convert: context.config.images.options(),
    };
    if !given && !args.all_tags && !args.quiet {
        output::print(&format!("Using default tag: {}\n", name.tag.as_deref().unwrap_or_default()))?;
    }
    let store = Store::open(&context.root, &context.run)?;
    let progress = progress::on(Stream::Stdout, args.quiet);
    let shown = match args.all_tags {
        false => {
            pull::pull(&store, &context.registries, &name, &options, &*progress)?;
            name.to_string()
        }
        true => {
            pull::pull_all(&store, &context.registries, &name, &options, &*progress)?;
            format!("{}/{}", name.registry, name.repository)
        }
    };
    output::print(&format!("{}\n", escape(&shown)))
}
