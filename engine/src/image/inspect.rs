//! `image inspect` in Docker's shape.

use serde::Serialize;

use super::catalog;
use super::digest::Digest;
use super::error::Result;
use super::naming::Naming;
use super::reference::Reference;
use super::spec::RunConfig;
use crate::store::Store;
use crate::time;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspect {
    pub id: Digest,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub comment: String,
    pub created: String,
    pub author: String,
    pub config: RunConfig,
    pub architecture: String,
    pub os: String,
    /// Sum of the layers' uncompressed sizes.
    pub size: u64,
    #[serde(rename = "RootFS")]
    pub root_fs: InspectRootFs,
    pub metadata: Metadata,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectRootFs {
    #[serde(rename = "Type")]
    pub kind: String,
    pub layers: Vec<Digest>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metadata {
    /// When the image came into the store.
    pub last_tag_time: String,
}

pub fn inspect(store: &Store, naming: &Naming, wanted: &str) -> Result<Inspect> {
    let row = catalog::find(store, naming, wanted)?;
    let config = catalog::config(store, &row.id)?;
    let names: Vec<Reference> = row.names.iter().filter_map(|(name, _)| name.parse().ok()).collect();
    let (digests, tags): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.digest.is_some());
    let added = row.added.saturating_mul(1_000_000_000);
    Ok(Inspect {
        id: row.id,
        repo_tags: tags.into_iter().map(|name| naming.familiar(name)).collect(),
        repo_digests: digests.into_iter().map(|name| naming.familiar(name)).collect(),
        comment: config.history.last().map(|step| step.comment.clone()).unwrap_or_default(),
        created: config.created.unwrap_or_default(),
        author: config.author,
        config: config.config,
        architecture: config.architecture,
        os: config.os,
        size: row.bytes,
        root_fs: InspectRootFs { kind: config.rootfs.kind, layers: config.rootfs.diff_ids },
        metadata: Metadata { last_tag_time: time::rfc3339_nano(added) },
    })
}
