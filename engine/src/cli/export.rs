//! `hull export`.

use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::Exit;
use super::output_file::{OutputFile, refuse_terminal};
use crate::container::export as exporter;
use crate::context::Context;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// File to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name, id or start of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub fn export(context: &Context, args: &ExportArgs) -> Exit {
    let store = Store::open(&context.root, &context.run)?;
    let failed = || format!("Failed to export {}", args.container);
    match &args.output {
        Some(path) => {
            let output = OutputFile::create(path)?;
            exporter::export(context, &store, &args.container, &mut output.file()).with_context(failed)?;
            output.finish()?;
        }
        None => {
            refuse_terminal("export")?;
            let mut stdout = io::stdout().lock();
            exporter::export(context, &store, &args.container, &mut stdout).with_context(failed)?;
        }
    }
    Ok(0)
}
