//! `hull import`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::Exit;
use super::load::stdin;
use crate::context::Context;
use crate::image::spec::RunConfig;
use crate::image::{changes, import as importer, platform};
use crate::store::Store;

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Tar archive of a root file system, plain or compressed; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
    /// Noted in the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL,
    /// USER, VOLUME or WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION", action = clap::ArgAction::Append)]
    change: Vec<String>,
    /// Platform that the files are for [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
}

pub fn import(context: &Context, args: &ImportArgs) -> Exit {
    let words = args.file.to_string_lossy();
    if ["http://", "https://"].iter().any(|scheme| words.starts_with(scheme)) && !args.file.exists() {
        return Err(anyhow::anyhow!(
            "import takes no URL; fetch {words} with another program, such as curl -L URL | hull import -"
        )
        .into());
    }
    let mut config = RunConfig::default();
    changes::apply(&mut config, &args.change)?;
    let platform = args.platform.as_deref().map(platform::parse).transpose()?;
    if let Some(variant) = platform.as_ref().and_then(|platform| platform.variant.as_ref()) {
        return Err(anyhow::anyhow!("an imported image has no variant, so leave out \"{variant}\"").into());
    }
    let store = Store::open(&context.root, &context.run)?;
    let naming = &context.config.short_names;
    let options = importer::Import {
        name: args.name.as_deref().map(|name| naming.parse(name)).transpose()?,
        message: args.message.clone().unwrap_or_else(|| format!("Imported from {}", args.file.display())),
        config,
        platform,
        options: context.config.images.options(),
    };
    let id = if args.file == Path::new("-") {
        importer::import(&store, stdin("a tar archive (hull import - < root.tar)")?, options)
    } else {
        let file =
            File::open(&args.file).with_context(|| format!("Failed to open {}", args.file.display()))?;
        importer::import(&store, file, options)
    };
    println!("{}", id.with_context(|| format!("Failed to import {}", args.file.display()))?);
    Ok(0)
}
