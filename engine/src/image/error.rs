//! What can go wrong with images.

use std::io;
use std::path::PathBuf;

use super::convert::ConvertError;
use super::digest::{Digest, DigestError};
use super::layer::build::BuildError;
use super::layer::erofs::ErofsError;
use super::layer::tar::TarError;
use super::recipe::RecipeError;
use super::reference::ReferenceError;
use super::root::RootError;
use super::save::SaveError;
use super::unpack::UnpackError;
use crate::registry;
use crate::store::db::removal::Refusal;
use crate::store::{self, Kind};
use crate::text::escape;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Names of archive members are escaped where the error is made: archives are untrusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error("Failed to {what} {}", .path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("Failed to read the archive")]
    Archive(#[source] TarError),
    #[error("Failed to read the input")]
    Input(#[source] io::Error),
    #[error("Failed to read \"{member}\" of the archive")]
    Member { member: String, source: io::Error },
    #[error("Failed to convert the layer {layer}")]
    Layer { layer: String, source: Box<ConvertError> },
    #[error("neither a docker archive nor an OCI image layout: it has no manifest.json and no index.json")]
    NoImages,
    #[error("the archive has no file \"{0}\", which its manifest names")]
    Missing(String),
    #[error("\"{document}\" is not what it should be")]
    Json { document: String, source: serde_json::Error },
    #[error("\"{0}\" is larger than the limit of 4 MiB")]
    DocumentSize(String),
    #[error("the archive's documents take more than 64 MiB")]
    Documents,
    #[error("the archive has more than 16384 images and names")]
    Names,
    #[error("\"{document}\" names a blob by a bad digest")]
    BadDigest { document: String, source: DigestError },
    #[error("\"{document}\" has the digest {found}, not {expected}: it is corrupt")]
    Corrupt { document: String, expected: Digest, found: Digest },
    #[error(
        "the layer {layer} unpacks to {found}, but the image's config says {expected}: it is corrupt or belongs to another image"
    )]
    DiffId { layer: String, expected: Digest, found: Digest },
    #[error("the manifest has {manifest} layers, the image's config {config}")]
    LayerCount { manifest: usize, config: usize },
    #[error("the image is for {image}, this host is {host}: it cannot run here")]
    Platform { image: String, host: String },
    #[error("the image index offers {offered}, nothing for {wanted}")]
    NoPlatform { offered: String, wanted: String },
    #[error("it is for {image}, and {wanted} was asked for")]
    OtherPlatform { image: String, wanted: String },
    #[error("media type \"{0}\" is not supported")]
    MediaType(String),
    #[error(
        "{0} is of Docker's schema 1, which is obsolete; push the image again with a tool of this decade"
    )]
    Schema1(String),
    #[error("{0} can be read as both an image and an index")]
    TwoKinds(String),
    #[error("the image's index holds indexes more than {0} deep")]
    Depth(u32),
    #[error("it is no image but an artifact of type \"{0}\"")]
    Artifact(String),
    #[error("it has a layer that is encrypted (\"{0}\"), and hull has no keys")]
    Encrypted(String),
    #[error("it has a layer that is to be had somewhere else only (\"{0}\")")]
    Foreign(String),
    #[error("the image has {found} layers, more than the limit of {limit}")]
    TooManyLayers { found: usize, limit: usize },
    #[error("{blob} is not of {expected} bytes, as what names it says")]
    BlobSize { blob: Digest, expected: u64 },
    #[error("Failed to pull {name}")]
    Pull { name: String, source: Box<Error> },
    #[error("{0} has no tags")]
    NoTags(String),
    #[error("Failed to read the layer {layer} from the registry")]
    Receive { layer: Digest, source: io::Error },
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error(transparent)]
    Root(Box<RootError>),
    #[error("Failed to unpack the image")]
    Unpack(#[source] Box<UnpackError>),
    #[error("Failed to push {name}")]
    Push { name: String, source: Box<Error> },
    #[error("Failed to compress the layer {layer}")]
    Pack { layer: Digest, source: io::Error },
    #[error("An image does not exist locally with the tag: {0}")]
    NoSuchTag(String),
    #[error("tag does not exist: {0}")]
    NoTag(String),
    #[error("cannot push a digest reference: {0}")]
    PushDigest(String),
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    #[error(transparent)]
    Save(#[from] SaveError),
    #[error("No such image: {0}")]
    NotFound(String),
    #[error(
        "conflict: unable to remove repository reference \"{name}\" (must force) - container {container} is using its referenced image {image}"
    )]
    LastName { name: String, image: String, container: String },
    #[error("conflict: unable to delete {image} ({force}) - image is {conflict}")]
    Conflict { image: String, force: &'static str, conflict: String },
}

impl Error {
    pub fn io(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { what, path: path.into(), source }
    }

    /// In docker's words.
    pub(super) fn refused(wanted: &str, refusal: Refusal) -> Self {
        let short = |id: &str| id.chars().take(12).collect::<String>();
        let conflict = |image: Digest, force, conflict: String| Self::Conflict {
            image: short(&image.hex()),
            force,
            conflict,
        };
        match refusal {
            Refusal::LastName { image, container } => Self::LastName {
                name: escape(wanted).to_string(),
                image: short(&image.hex()),
                container: short(&container),
            },
            Refusal::Running { image, container } => {
                let by = format!("being used by running container {}", short(&container));
                conflict(image, "cannot be forced", by)
            }
            Refusal::Stopped { image, container } => {
                let by = format!("being used by stopped container {}", short(&container));
                conflict(image, "must be forced", by)
            }
            Refusal::SeveralNames { image } => {
                conflict(image, "must be forced", "referenced in multiple repositories".to_owned())
            }
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Pull { source, .. } => source.kind(),
            Self::NotFound(_) | Self::NoTags(_) | Self::NoSuchTag(_) | Self::NoTag(_) => Kind::NotFound,
            Self::Push { source, .. } => source.kind(),
            Self::Pack { .. } => Kind::Io,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            Self::Io { .. } | Self::Input(_) | Self::Receive { .. } => Kind::Io,
            Self::LastName { .. } | Self::Conflict { .. } => Kind::InUse,
            Self::Layer { source, .. } => match &**source {
                ConvertError::Store(error) => error.kind(),
                ConvertError::Build(BuildError::Write(ErofsError::Io(..))) => Kind::Io,
                _ => Kind::Invalid,
            },
            Self::Unpack(_) => Kind::Io,
            Self::Root(error) => match &**error {
                RootError::Store(error) => error.kind(),
                _ => Kind::Invalid,
            },
            Self::Recipe(RecipeError::Io { .. }) | Self::Save(SaveError::Write(_)) => Kind::Io,
            Self::Reference(_)
            | Self::PushDigest(_)
            | Self::Recipe(_)
            | Self::Save(_)
            | Self::Archive(_)
            | Self::Member { .. }
            | Self::NoImages
            | Self::Missing(_)
            | Self::Json { .. }
            | Self::DocumentSize(_)
            | Self::Documents
            | Self::Names
            | Self::BadDigest { .. }
            | Self::Corrupt { .. }
            | Self::DiffId { .. }
            | Self::LayerCount { .. }
            | Self::Platform { .. }
            | Self::NoPlatform { .. }
            | Self::OtherPlatform { .. }
            | Self::Schema1(_)
            | Self::TwoKinds(_)
            | Self::Depth(_)
            | Self::Artifact(_)
            | Self::Encrypted(_)
            | Self::Foreign(_)
            | Self::TooManyLayers { .. }
            | Self::BlobSize { .. }
            | Self::MediaType(_) => Kind::Invalid,
        }
    }
}

impl From<RootError> for Error {
    fn from(error: RootError) -> Self {
        Self::Root(Box::new(error))
    }
}
