//! All that images keep in the store, for whoever counts or checks it.

use rusqlite::{Connection, Row};

use super::images::{LayerRow, digest_column, layer_from, names_of, size_column};
use super::{Database, Result};
use crate::image::digest::Digest;

/// An image, and what it keeps.
#[derive(Debug, Clone)]
pub struct Kept {
    pub id: Digest,
    pub manifest: Digest,
    /// Removed by force, and kept by containers.
    pub hidden: bool,
    /// Canonical names.
    pub names: Vec<String>,
    /// Lowest first.
    pub layers: Vec<LayerRow>,
    /// Files in `blobs/`, with their sizes.
    pub blobs: Vec<(Digest, u64)>,
    /// How many were made of it.
    pub containers: u64,
}

impl Database {
    /// Every image, hidden ones, too, in one snapshot.
    pub fn inventory(&self) -> Result<Vec<Kept>> {
        self.read("list what images keep", |db| {
            let snapshot = db.unchecked_transaction()?;
            snapshot
                .prepare_cached(
                    "SELECT id, manifest, hidden, (SELECT count(*) FROM containers WHERE image = images.id)
                     FROM images ORDER BY id",
                )?
                .query_map([], |row| kept(&snapshot, row))?
                .collect()
        })
    }
}

fn kept(db: &Connection, row: &Row<'_>) -> rusqlite::Result<Kept> {
    let id = digest_column(row, 0)?;
    let image = id.to_string();
    let layers = db
        .prepare_cached(
            "SELECT diff_id, bytes, tar_bytes, entries FROM image_layers JOIN layers USING (diff_id)
             WHERE image = ? ORDER BY position",
        )?
        .query_map([&image], layer_from)?
        .collect::<rusqlite::Result<_>>()?;
    let blobs = db
        .prepare_cached("SELECT digest, bytes FROM blobs WHERE image = ? ORDER BY digest")?
        .query_map([&image], |row| Ok((digest_column(row, 0)?, size_column(row, 1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Kept {
        id,
        manifest: digest_column(row, 1)?,
        hidden: row.get(2)?,
        names: names_of(db, &image)?,
        layers,
        blobs,
        containers: size_column(row, 3)?,
    })
}
