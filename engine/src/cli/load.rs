//! `hull load`.

use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::Exit;
use crate::context::Context;
use crate::image::load::{self, Input};
use crate::store::Store;
use crate::text::escape;

#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Archive, or folder that holds an unpacked one [default: stdin]
    #[arg(short, long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Say nothing about what was loaded
    #[arg(short, long)]
    quiet: bool,
}

pub fn load(context: &Context, args: &LoadArgs) -> Exit {
    let store = Store::open(&context.root, &context.run)?;
    let options = context.config.images.options();
    let loaded = match &args.input {
        Some(path) => load::load(&store, Input::Path(path), options),
        None => {
            let mut stdin = stdin("an archive (hull load < image.tar, or -i image.tar)")?;
            load::load(&store, Input::Stream(&mut stdin), options)
        }
    };
    let from = args
        .input
        .as_deref()
        .map_or("stdin".into(), |path| escape(path.as_os_str().as_encoded_bytes()).to_string());
    for image in loaded.with_context(|| format!("Failed to load {from}"))? {
        if args.quiet {
            continue;
        }
        if image.names.is_empty() {
            println!("Loaded image ID: {}", image.id);
        }
        let naming = &context.config.short_names;
        image.names.iter().for_each(|name| println!("Loaded image: {}", escape(&naming.familiar(name))));
    }
    Ok(0)
}

/// A terminal is no archive: better a word than a wait.
pub fn stdin(wanted: &str) -> Result<io::Stdin, anyhow::Error> {
    let stdin = io::stdin();
    if crate::terminal::is_terminal(&stdin) {
        anyhow::bail!("stdin is a terminal, expected is {wanted}");
    }
    Ok(stdin)
}
