//! Rows of images, their names, layers and blobs.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::containers::malformed;
use super::{Database, Error, Result};
use crate::image::digest::Digest;

/// A layer in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRow {
    pub diff_id: Digest,
    /// Of the layer file.
    pub bytes: u64,
    /// Of the uncompressed tar it was made from.
    pub tar_bytes: u64,
    pub entries: u64,
}

/// An image whose files are all in place.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// Digest of the config.
    pub id: Digest,
    pub manifest: Digest,
    pub chain: Digest,
    /// RFC 3339, as the config says; empty if it does not.
    pub created: String,
    /// Seconds since 1970.
    pub added: i64,
    pub layers: Vec<LayerRow>,
    /// Manifest, config and compressed layers: digest and size.
    pub blobs: Vec<(Digest, u64)>,
    /// Canonical names it gets; whoever had them loses them.
    pub names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRow {
    pub id: Digest,
    pub manifest: Digest,
    pub created: String,
    pub added: i64,
    /// Sum of the layers' uncompressed sizes.
    pub bytes: u64,
    /// Canonical names, sorted, and the manifest each of them means.
    pub names: Vec<(String, Digest)>,
}

/// What the files of the store are still needed for.
#[derive(Debug, Default)]
pub struct Live {
    pub layers: BTreeSet<Digest>,
    pub blobs: BTreeSet<Digest>,
    pub chains: BTreeSet<Digest>,
}

pub(super) fn digest_column(row: &Row<'_>, index: usize) -> rusqlite::Result<Digest> {
    row.get::<_, String>(index)?.parse().map_err(|error| malformed(format!("{error}")))
}

pub(super) fn size_column(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let value = row.get::<_, i64>(index)?;
    u64::try_from(value).map_err(|_| malformed(format!("negative size {value}")))
}

/// Sizes are far below 2^63: writers are limited to 2^44.
fn size_value(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn layer_from(row: &Row<'_>) -> rusqlite::Result<LayerRow> {
    Ok(LayerRow {
        diff_id: digest_column(row, 0)?,
        bytes: size_column(row, 1)?,
        tar_bytes: size_column(row, 2)?,
        entries: size_column(row, 3)?,
    })
}

const IMAGE: &str = "SELECT id, manifest, created, added,
    (SELECT coalesce(sum(tar_bytes), 0) FROM image_layers JOIN layers USING (diff_id) WHERE image = images.id)
    FROM images WHERE NOT hidden";

fn image_from(db: &Connection, row: &Row<'_>) -> rusqlite::Result<ImageRow> {
    let id = digest_column(row, 0)?;
    let names = db
        .prepare_cached("SELECT name, manifest FROM names WHERE image = ? ORDER BY name")?
        .query_map([id.to_string()], |row| Ok((row.get(0)?, digest_column(row, 1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(ImageRow {
        id,
        manifest: digest_column(row, 1)?,
        created: row.get(2)?,
        added: row.get(3)?,
        bytes: size_column(row, 4)?,
        names,
    })
}

/// All images that are seen, newest first: a walk through each table, where a look-up an image would cost
/// several times as much.
fn list(db: &Connection) -> rusqlite::Result<Vec<ImageRow>> {
    let mut names: HashMap<String, Vec<(String, Digest)>> = HashMap::new();
    let mut statement = db.prepare_cached("SELECT image, name, manifest FROM names ORDER BY name")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        names.entry(row.get(0)?).or_default().push((row.get(1)?, digest_column(row, 2)?));
    }
    let sizes: HashMap<String, u64> = db
        .prepare_cached(
            "SELECT image, sum(tar_bytes) FROM image_layers JOIN layers USING (diff_id) GROUP BY image",
        )?
        .query_map([], |row| Ok((row.get(0)?, size_column(row, 1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    db.prepare_cached(
        "SELECT id, manifest, created, added FROM images WHERE NOT hidden ORDER BY created DESC, added DESC, id",
    )?
    .query_map([], |row| {
        let id: String = row.get(0)?;
        Ok(ImageRow {
            id: digest_column(row, 0)?,
            manifest: digest_column(row, 1)?,
            created: row.get(2)?,
            added: row.get(3)?,
            bytes: sizes.get(&id).copied().unwrap_or(0),
            names: names.remove(&id).unwrap_or_default(),
        })
    })?
    .collect()
}

impl Database {
    /// Adds images, all or none; of one that is there, what is new (names, another manifest's blobs).
    pub fn add_images(&self, new: &[NewImage]) -> Result<()> {
        self.write("add an image", |tx| Ok(new.iter().try_for_each(|image| insert_image(tx, image))?))
    }

    pub fn images(&self) -> Result<Vec<ImageRow>> {
        self.read("list images", |db| list(&*db.unchecked_transaction()?))
    }

    pub fn image(&self, id: &Digest) -> Result<Option<ImageRow>> {
        self.read("look up an image", |db| {
            db.prepare_cached(&format!("{IMAGE} AND id = ?"))?
                .query_row([id.to_string()], |row| image_from(db, row))
                .optional()
        })
    }

    /// The image that a container was made from, also if it was removed by force since.
    pub fn image_of_container(&self, id: &Digest) -> Result<Option<ImageRow>> {
        self.read("look up an image", |db| {
            db.prepare_cached(&IMAGE.replace("NOT hidden", "id = ?"))?
                .query_row([id.to_string()], |row| image_from(db, row))
                .optional()
        })
    }

    pub fn image_named(&self, name: &str) -> Result<Option<ImageRow>> {
        self.read("look up an image", |db| {
            db.prepare_cached(&format!("{IMAGE} AND id = (SELECT image FROM names WHERE name = ?)"))?
                .query_row([name], |row| image_from(db, row))
                .optional()
        })
    }

    /// The image whose id starts with these hex digits, if one does.
    pub fn image_starting(&self, prefix: &str) -> Result<Option<ImageRow>> {
        let mut found: Vec<_> = self.read("look up an image", |db| {
            // Not GLOB, for which SQLite looks at every id unless the pattern is a constant.
            let range = "id >= 'sha256:' || ?1 AND id < 'sha256:' || ?1 || 'g'";
            db.prepare_cached(&format!("{IMAGE} AND {range} LIMIT 2"))?
                .query_map([prefix], |row| image_from(db, row))?
                .collect()
        })?;
        if found.len() > 1 {
            return Err(Error::Ambiguous { what: "image", name: prefix.to_owned() });
        }
        Ok(found.pop())
    }

    pub fn layer(&self, diff_id: &Digest) -> Result<Option<LayerRow>> {
        self.read("look up a layer", |db| {
            db.prepare_cached("SELECT diff_id, bytes, tar_bytes, entries FROM layers WHERE diff_id = ?")?
                .query_row([diff_id.to_string()], layer_from)
                .optional()
        })
    }

    /// Adds a layer that no image has yet. It stays until the next collection, or until one has it.
    pub fn add_layer(&self, layer: &LayerRow) -> Result<()> {
        self.write("add a layer", |tx| Ok(insert_layer(tx, layer)?))
    }

    /// The files in `blobs/` that an image keeps, with their sizes.
    pub fn blobs_of(&self, image: &Digest) -> Result<Vec<(Digest, u64)>> {
        self.read("list an image's blobs", |db| {
            db.prepare_cached("SELECT digest, bytes FROM blobs WHERE image = ?")?
                .query_map([image.to_string()], |row| Ok((digest_column(row, 0)?, size_column(row, 1)?)))?
                .collect()
        })
    }

    /// An image's layers, lowest first.
    pub fn layers_of(&self, image: &Digest) -> Result<Vec<LayerRow>> {
        self.read("list an image's layers", |db| {
            db.prepare_cached(
                "SELECT diff_id, bytes, tar_bytes, entries FROM image_layers JOIN layers USING (diff_id)
                 WHERE image = ? ORDER BY position",
            )?
            .query_map([image.to_string()], layer_from)?
            .collect()
        })
    }

    /// Gives an image a further name, taking it from whoever had it.
    pub fn tag(&self, image: &Digest, name: &str) -> Result<()> {
        self.write("name an image", |tx| {
            let id = image.to_string();
            let manifest: Option<String> = tx
                .prepare_cached("SELECT manifest FROM images WHERE id = ? AND NOT hidden")?
                .query_row([&id], |row| row.get(0))
                .optional()?;
            let manifest = manifest.ok_or(Error::NotFound { what: "image", name: id.clone() })?;
            Ok(set_name(tx, name, &id, &manifest)?)
        })
    }

    /// Gives an image a name that means this manifest of its.
    pub fn name_manifest(&self, image: &Digest, name: &str, manifest: &Digest) -> Result<()> {
        self.write("name an image", |tx| Ok(set_name(tx, name, &image.to_string(), &manifest.to_string())?))
    }

    /// Adds files that an image keeps: digest and size.
    pub fn add_blobs(&self, image: &Digest, blobs: &[(Digest, u64)]) -> Result<()> {
        self.write("add an image's blobs", |tx| Ok(insert_blobs(tx, &image.to_string(), blobs)?))
    }

    /// Names of the images that keep this file.
    pub fn names_with_blob(&self, blob: &Digest) -> Result<Vec<String>> {
        self.read("look for a blob", |db| {
            db.prepare_cached(
                "SELECT name FROM names WHERE image IN (SELECT image FROM blobs WHERE digest = ?) ORDER BY name",
            )?
            .query_map([blob.to_string()], |row| row.get(0))?
            .collect()
        })
    }

    /// Forgets what nothing needs, and says what is needed. Only under the collector's lock.
    pub fn collect(&self) -> Result<Live> {
        self.write("collect unused images", |tx| {
            tx.execute("DELETE FROM images WHERE hidden AND id NOT IN (SELECT image FROM containers)", [])?;
            tx.execute("DELETE FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers)", [])?;
            Ok(Live {
                layers: digests(tx, "SELECT diff_id FROM layers")?,
                blobs: digests(tx, "SELECT digest FROM blobs")?,
                chains: digests(tx, "SELECT chain FROM images")?,
            })
        })
    }
}

fn insert_image(db: &Connection, new: &NewImage) -> rusqlite::Result<()> {
    let id = new.id.to_string();
    let manifest = new.manifest.to_string();
    db.prepare_cached(
        "INSERT INTO images(id, manifest, chain, created, added) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT(id) DO UPDATE SET manifest = excluded.manifest, hidden = 0",
    )?
    .execute(params![id, manifest, new.chain.to_string(), new.created, new.added])?;
    for (layer, position) in new.layers.iter().zip(0_i64..) {
        insert_layer(db, layer)?;
        db.prepare_cached("INSERT OR IGNORE INTO image_layers(image, position, diff_id) VALUES (?, ?, ?)")?
            .execute(params![id, position, layer.diff_id.to_string()])?;
    }
    insert_blobs(db, &id, &new.blobs)?;
    new.names.iter().try_for_each(|name| set_name(db, name, &id, &manifest))
}

fn insert_layer(db: &Connection, layer: &LayerRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO layers(diff_id, bytes, tar_bytes, entries) VALUES (?, ?, ?, ?)
         ON CONFLICT(diff_id) DO NOTHING",
    )?
    .execute(params![
        layer.diff_id.to_string(),
        size_value(layer.bytes),
        size_value(layer.tar_bytes),
        size_value(layer.entries)
    ])?;
    Ok(())
}

fn insert_blobs(db: &Connection, image: &str, blobs: &[(Digest, u64)]) -> rusqlite::Result<()> {
    for (digest, bytes) in blobs {
        db.prepare_cached("INSERT OR IGNORE INTO blobs(image, digest, bytes) VALUES (?, ?, ?)")?
            .execute(params![image, digest.to_string(), size_value(*bytes)])?;
    }
    Ok(())
}

fn set_name(db: &Connection, name: &str, image: &str, manifest: &str) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO names(name, image, manifest) VALUES (?, ?, ?)
         ON CONFLICT(name) DO UPDATE SET image = excluded.image, manifest = excluded.manifest",
    )?
    .execute([name, image, manifest])?;
    Ok(())
}

pub(super) fn names_of(db: &Connection, image: &str) -> rusqlite::Result<Vec<String>> {
    db.prepare_cached("SELECT name FROM names WHERE image = ? ORDER BY name")?
        .query_map([image], |row| row.get(0))?
        .collect()
}

fn digests(db: &Connection, query: &str) -> rusqlite::Result<BTreeSet<Digest>> {
    db.prepare(query)?.query_map([], |row| digest_column(row, 0))?.collect()
}

#[cfg(test)]
#[path = "images_tests.rs"]
pub(super) mod tests;
