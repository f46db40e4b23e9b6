//! `hull tag`.

use clap::Args;

use super::Exit;
use crate::context::Context;
use crate::image::catalog;
use crate::store::Store;

#[derive(Debug, Args)]
pub struct TagArgs {
    /// Name, id or start of an id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Name it gets besides those that it has
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

pub fn tag(context: &Context, args: &TagArgs) -> Exit {
    let naming = &context.config.short_names;
    let name = naming.parse(&args.name)?;
    if name.digest.is_some() {
        // A digest is what a registry says of its content: nobody may claim it.
        return Err(anyhow::anyhow!("refusing to create a tag with a digest reference").into());
    }
    let store = Store::open(&context.root, &context.run)?;
    catalog::tag(&store, naming, &args.image, &name)?;
    Ok(0)
}
