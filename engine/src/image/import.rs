//! A root file system's tar becomes an image of one layer.

use std::io::Read;

use super::convert::{self, Options};
use super::digest::Digest;
use super::error::{Error, Result};
use super::ingest::{self, Layer, Parts};
use super::spec::{History, ImageConfig, Platform, RootFs, RunConfig};
use super::{Reference, gc, platform};
use crate::store::Store;
use crate::time;

/// What the image gets beside its files.
#[derive(Debug, Default)]
pub struct Import {
    pub name: Option<Reference>,
    /// Shown in the history.
    pub message: String,
    pub config: RunConfig,
    /// This machine's, if none is said.
    pub platform: Option<Platform>,
    pub options: Options,
}

/// Imports what `stream` gives: a tar, plain or compressed with gzip or zstd.
pub fn import(store: &Store, stream: impl Read + Send, import: Import) -> Result<Digest> {
    let _held = gc::hold(store)?;
    let shown = || "from the imported tar".to_owned();
    let converted = convert::convert(store, stream, import.options)
        .map_err(|source| Error::Layer { layer: shown(), source: Box::new(source) })?;
    let created = Some(time::rfc3339_nano(time::now_ns()));
    let target = import.platform.unwrap_or_else(platform::host);
    let config = ImageConfig {
        created: created.clone(),
        author: String::new(),
        architecture: target.architecture,
        os: target.os,
        config: import.config,
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![converted.diff_id()] },
        history: vec![History { created, comment: import.message, ..History::default() }],
    };
    let bytes = serde_json::to_vec(&config)
        .map_err(|source| Error::Json { document: "the image's config".to_owned(), source })?;
    let layer = Layer { row: converted.adopt(store)?, blob: None };
    let names = import.name.into_iter().collect();
    let max_entries = import.options.max_entries;
    let parts = Parts { config: bytes, manifest: None, layers: vec![layer], names, max_entries };
    let new = ingest::prepare(store, parts, &config)?;
    store.db().add_images(std::slice::from_ref(&new))?;
    Ok(new.id)
}
