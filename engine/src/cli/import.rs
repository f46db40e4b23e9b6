//! `hull import`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::Exit;
use super::load::stdin;
use crate::context::Context;
use crate::image::import as importer;
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
}

pub fn import(context: &Context, args: &ImportArgs) -> Exit {
    let store = Store::open(&context.root, &context.run)?;
    let naming = &context.config.short_names;
    let options = importer::Import {
        name: args.name.as_deref().map(|name| naming.parse(name)).transpose()?,
        message: args.message.clone().unwrap_or_else(|| format!("Imported from {}", args.file.display())),
        options: context.config.images.options(),
        ..importer::Import::default()
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
