//! `hull load`, `import`, `images`, `rmi`, `image ...`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::output::{ago, short, size, table};
use super::{Exit, Failure};
use crate::context::Context;
use crate::image::convert::Options;
use crate::image::{
    self, Reference, catalog, import as importer, inspect as inspector,
    load::{self as loader, Input},
};
use crate::store::Store;
use crate::store::db::images::ImageRow;
use crate::text::escape;
use crate::time::{SECOND, now_ns};

#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Archive, or folder that holds an unpacked one [default: stdin]
    #[arg(short, long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Say nothing about what was loaded
    #[arg(short, long)]
    quiet: bool,
}

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

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Remove all names of an image, and images that ended containers were made of
    #[arg(short, long)]
    force: bool,
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Show what is known of images, as JSON
    Inspect(InspectArgs),
    /// List images
    Ls(ListArgs),
    /// Remove images
    Rm(RemoveArgs),
    /// Fetch an image from a registry
    Pull(super::pull::PullArgs),
    /// Load images from an archive or a folder (docker-archive or OCI layout)
    Load(LoadArgs),
    /// Write images to a tar archive, for hull, docker, podman and skopeo to load
    Save(super::save::SaveArgs),
    /// Make an image of a root file system's tar archive
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub fn image(context: &Context, command: ImageCommand) -> Exit {
    match command {
        ImageCommand::Inspect(args) => inspect(context, &args),
        ImageCommand::Ls(args) => list(context, &args),
        ImageCommand::Rm(args) => remove(context, &args),
        ImageCommand::Pull(args) => super::pull::pull(context, &args),
        ImageCommand::Load(args) => load(context, &args),
        ImageCommand::Save(args) => super::save::save(context, &args),
        ImageCommand::Import(args) => import(context, &args),
    }
}

pub fn load(context: &Context, args: &LoadArgs) -> Exit {
    let store = open(context)?;
    let options = Options::default();
    let loaded = match &args.input {
        Some(path) => loader::load(&store, Input::Path(path), options),
        None => {
            let mut stdin = stdin("an archive (hull load < image.tar, or -i image.tar)")?;
            loader::load(&store, Input::Stream(&mut stdin), options)
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
        image.names.iter().for_each(|name| println!("Loaded image: {}", escape(&name.familiar())));
    }
    Ok(0)
}

pub fn import(context: &Context, args: &ImportArgs) -> Exit {
    let store = open(context)?;
    let options = importer::Import {
        name: args.name.as_deref().map(str::parse::<Reference>).transpose()?,
        message: args.message.clone().unwrap_or_else(|| format!("Imported from {}", args.file.display())),
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

/// A terminal is no archive: better a word than a wait.
fn stdin(wanted: &str) -> Result<io::Stdin, anyhow::Error> {
    let stdin = io::stdin();
    if crate::terminal::is_terminal(&stdin) {
        anyhow::bail!("stdin is a terminal, expected is {wanted}");
    }
    Ok(stdin)
}

pub fn list(context: &Context, args: &ListArgs) -> Exit {
    let images = catalog::list(&open(context)?)?;
    let id = |row: &ImageRow| {
        let id = row.id.to_string();
        if args.no_trunc { id } else { short(&id).to_string() }
    };
    if args.quiet {
        images.iter().for_each(|row| println!("{}", id(row)));
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = images.iter().flat_map(|row| lines(row, &id(row))).collect();
    table(&["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"], &rows);
    Ok(0)
}

/// A line a name, as docker's; one line of `<none>` for an image without.
fn lines(row: &ImageRow, id: &str) -> Vec<Vec<String>> {
    const NONE: &str = "<none>";
    let rest = [id.to_string(), ago(now_ns() / SECOND - row.added), size(row.bytes)];
    let line = |repository: String, tag: String| [vec![repository, tag], rest.to_vec()].concat();
    let named = row.names.iter().filter_map(|(name, _)| name.parse::<Reference>().ok());
    let lines: Vec<_> = named
        .map(|name| line(name.familiar_repository(), name.tag.clone().unwrap_or_else(|| NONE.into())))
        .collect();
    if lines.is_empty() { vec![line(NONE.into(), NONE.into())] } else { lines }
}

pub fn remove(context: &Context, args: &RemoveArgs) -> Exit {
    let store = open(context)?;
    crate::sandbox::sweep::dead(context, &store);
    each(&args.images, |image| {
        let removed = catalog::remove(&store, image, args.force)?;
        for name in &removed.untagged {
            let shown = name.parse::<Reference>().map_or_else(|_| name.clone(), |name| name.familiar());
            println!("Untagged: {}", escape(&shown));
        }
        if let Some(id) = removed.deleted {
            println!("Deleted: {id}");
        }
        Ok(())
    })
}

fn inspect(context: &Context, args: &InspectArgs) -> Exit {
    let store = open(context)?;
    let mut found = Vec::new();
    let exit = each(&args.images, |image| {
        found.push(inspector::inspect(&store, image)?);
        Ok(())
    });
    println!("{}", serde_json::to_string_pretty(&found)?);
    exit
}

/// Does something for each argument; what fails is told and does not stop the rest.
fn each(names: &[String], mut act: impl FnMut(&str) -> image::Result<()>) -> Exit {
    let mut code = 0;
    for name in names {
        if let Err(error) = act(name) {
            eprintln!("hull: {}", escape(&format!("{:#}", anyhow::Error::from(error))));
            code = 1;
        }
    }
    Ok(code)
}

fn open(context: &Context) -> Result<Store, Failure> {
    Ok(Store::open(&context.root, &context.run)?)
}
