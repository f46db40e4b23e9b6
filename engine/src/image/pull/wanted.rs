//! The image that a container is to be made of, pulled if that is asked for.

use super::progress::Progress;
use super::{Options, pull};
use crate::context::Context;
use crate::image::error::{Error, Result};
use crate::image::spec::Platform;
use crate::image::{Digest, Image, Naming, Reference, catalog, platform};
use crate::store::Store;
use crate::text::escape;

/// When `run` and `create` pull.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Policy {
    /// Look for a newer image each time
    Always,
    /// Pull what is not here
    #[default]
    Missing,
    /// Use what is here
    Never,
}

/// An image by its name or id, and what to do where it is not here.
#[derive(Debug)]
pub struct Wanted {
    pub image: String,
    pub policy: Policy,
    pub platform: Option<Platform>,
    pub progress: Box<dyn Progress>,
}

impl Wanted {
    /// The image, which runs on this machine.
    pub fn find(&self, context: &Context, store: &Store) -> Result<Image> {
        let naming = &context.config.short_names;
        if self.policy == Policy::Always
            && let Some(name) = self.name(naming)
        {
            self.pull(context, store, &name)?;
        }
        let image = match (self.local(store, naming), self.policy) {
            (Err(Error::NotFound(shown)), Policy::Missing) => {
                let name = self.name(naming).ok_or(Error::NotFound(shown))?;
                self.progress.missing(&name);
                self.pull(context, store, &name)?;
                self.local(store, naming)?
            }
            (found, _) => found?,
        };
        platform::check(&image.config)?;
        Ok(image)
    }

    /// One for another platform than the one asked for is another image.
    fn local(&self, store: &Store, naming: &Naming) -> Result<Image> {
        let image = catalog::resolve(store, naming, &self.image)?;
        match &self.platform {
            Some(wanted) if !platform::fits(&image.config, wanted) => {
                Err(Error::NotFound(escape(&self.image).to_string()))
            }
            _ => Ok(image),
        }
    }

    /// The name to pull by; an id is none.
    fn name(&self, naming: &Naming) -> Option<Reference> {
        if self.image.parse::<Digest>().is_ok() {
            return None;
        }
        naming.parse(&self.image).ok()
    }

    fn pull(&self, context: &Context, store: &Store, name: &Reference) -> Result<()> {
        let convert = context.config.images.options();
        let options = Options { platform: self.platform.clone(), convert };
        pull(store, &context.registries, name, &options, &*self.progress)?;
        Ok(())
    }
}
