//! `hull rmi`.

use clap::Args;

use super::Exit;
use crate::context::Context;
use crate::image::{Naming, Reference, catalog};
use crate::store::{Kind, Store};
use crate::text::escape;

#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Remove images with several names, and images that ended containers were made of
    #[arg(short, long)]
    force: bool,
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// What fails is told and does not stop the rest.
pub fn remove(context: &Context, args: &RemoveArgs) -> Exit {
    let store = Store::open(&context.root, &context.run)?;
    crate::sandbox::sweep::dead(context, &store);
    let naming = &context.config.short_names;
    let mut code = 0;
    for image in &args.images {
        match catalog::remove(&store, naming, image, args.force) {
            Ok(removed) => {
                for name in &removed.untagged {
                    println!("Untagged: {}", escape(&familiar(naming, name)));
                }
                removed.deleted.iter().chain(&removed.layers).for_each(|id| println!("Deleted: {id}"));
            }
            Err(error) => {
                // As docker's: by force, what is not there is gone.
                if !(args.force && error.kind() == Kind::NotFound) {
                    code = 1;
                }
                eprintln!("hull: {}", escape(&format!("{:#}", anyhow::Error::from(error))));
            }
        }
    }
    Ok(code)
}

/// A name of the store, as people write it.
pub fn familiar(naming: &Naming, canonical: &str) -> String {
    canonical.parse::<Reference>().map_or_else(|_| canonical.to_owned(), |name| naming.familiar(&name))
}
