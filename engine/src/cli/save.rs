//! `hull save`.

use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::Exit;
use super::output_file::OutputFile;
use crate::context::Context;
use crate::image::save as saver;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct SaveArgs {
    /// File to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Names, ids or starts of ids; a name without a tag is all tags of it
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub fn save(context: &Context, args: &SaveArgs) -> Exit {
    let naming = &context.config.short_names;
    let store = Store::open(&context.root, &context.run)?;
    match &args.output {
        Some(path) => {
            let output = OutputFile::create(path)?;
            let saved = saver::save(&store, naming, &args.images, output.file());
            saved.with_context(|| format!("Failed to save to {}", path.display()))?;
            output.finish()?;
        }
        None => {
            super::output_file::refuse_terminal("save")?;
            saver::save(&store, naming, &args.images, io::stdout().lock()).context("Failed to save")?;
        }
    }
    Ok(0)
}
