//! Taking names and images out of the database, by docker's rules.

use rusqlite::{Connection, OptionalExtension, params};

use super::containers::malformed;
use super::images::{digest_column, names_of};
use super::{Database, Error, Failure, Result};
use crate::image::digest::Digest;
use crate::image::root::chain_id;

/// What removing a name or an image did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Canonical names.
    pub untagged: Vec<String>,
    pub deleted: Option<Digest>,
    /// Chain ids that no image begins with any more, topmost first.
    pub layers: Vec<Digest>,
}

/// Why an image stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Its last name is to go, and this container was made from it; force helps.
    LastName { image: Digest, container: String },
    /// This container runs; force does not help.
    Running { image: Digest, container: String },
    /// This container was made from it; force helps.
    Stopped { image: Digest, container: String },
    /// It has several names; force helps.
    SeveralNames { image: Digest },
}

type Outcome = Result<Removed, Refusal>;

impl Database {
    /// Removes a name, and with a repository's last tag the names by digest beside it. With an image's last
    /// name goes the image; by force although containers need it. While one runs it stays, without a name.
    pub fn remove_image_name(&self, name: &str, force: bool) -> Result<Outcome> {
        self.write("remove an image", |tx| {
            let image: Option<String> = tx
                .query_row("SELECT image FROM names WHERE name = ?", [name], |row| row.get(0))
                .optional()?;
            let image = image.ok_or(Error::NotFound { what: "image", name: name.to_owned() })?;
            let names = names_of(tx, &image)?;
            let user = user_of(tx, &image)?;
            if let Some(user) = user.as_ref().filter(|_| !force && is_single(&names)) {
                let container = user.container.clone();
                return Ok(Err(Refusal::LastName { image: id(&image)?, container }));
            }
            let (gone, rest) = go_with(name, names);
            for name in &gone {
                tx.execute("DELETE FROM names WHERE name = ?", [name])?;
            }
            if !rest.is_empty() || user.as_ref().is_some_and(|user| user.alive) {
                return Ok(Ok(Removed { untagged: gone, ..Removed::default() }));
            }
            Ok(Ok(delete(tx, &image, gone, user.is_some())?))
        })
    }

    /// Removes an image that no container was made of, with all its names; without `tagged` only if none of
    /// them is a tag.
    pub fn remove_unused_image(&self, image: &Digest, tagged: bool) -> Result<Option<Removed>> {
        self.write("remove an image", |tx| {
            let image = image.to_string();
            if user_of(tx, &image)?.is_some() {
                return Ok(None);
            }
            let names = names_of(tx, &image)?;
            if !tagged && names.iter().any(|name| !is_digest(name)) {
                return Ok(None);
            }
            Ok(Some(delete(tx, &image, names, false)?))
        })
    }

    /// Whether an image was removed by force, and the last container that needed it is gone.
    pub fn is_forsaken(&self, image: &Digest) -> Result<bool> {
        self.read("look up an image", |db| {
            db.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM images WHERE id = ?1 AND hidden
                   AND NOT EXISTS (SELECT 1 FROM containers WHERE image = ?1))",
            )?
            .query_row([image.to_string()], |row| row.get(0))
        })
    }

    /// Removes an image with all its names.
    pub fn remove_image(&self, image: &Digest, force: bool) -> Result<Outcome> {
        self.write("remove an image", |tx| {
            let (digest, image) = (*image, image.to_string());
            let names = names_of(tx, &image)?;
            let user = user_of(tx, &image)?;
            let refusal = match &user {
                Some(User { container, alive: true }) => {
                    Some(Refusal::Running { image: digest, container: container.clone() })
                }
                _ if force => None,
                _ if !is_single(&names) => Some(Refusal::SeveralNames { image: digest }),
                Some(User { container, .. }) => {
                    Some(Refusal::Stopped { image: digest, container: container.clone() })
                }
                None => None,
            };
            match refusal {
                Some(refusal) => Ok(Err(refusal)),
                None => Ok(Ok(delete(tx, &image, names, user.is_some())?)),
            }
        })
    }
}

/// A container of an image; of several one that lives, if one does.
struct User {
    container: String,
    alive: bool,
}

fn user_of(db: &Connection, image: &str) -> rusqlite::Result<Option<User>> {
    db.prepare_cached(
        "SELECT id, state IN ('running', 'paused', 'restarting') AS alive FROM containers WHERE image = ?
         ORDER BY alive DESC LIMIT 1",
    )?
    .query_row([image], |row| Ok(User { container: row.get(0)?, alive: row.get(1)? }))
    .optional()
}

fn id(image: &str) -> rusqlite::Result<Digest> {
    image.parse().map_err(|error| malformed(format!("{error}")))
}

fn is_digest(name: &str) -> bool {
    name.contains('@')
}

/// At most one tag, and all names in one repository.
fn is_single(names: &[String]) -> bool {
    let tags = names.iter().filter(|name| !is_digest(name)).count();
    let first = names.first().map(|name| repository_of(name));
    tags <= 1 && names.iter().all(|name| Some(repository_of(name)) == first)
}

/// The names that go with this one, and those that stay.
fn go_with(name: &str, names: Vec<String>) -> (Vec<String>, Vec<String>) {
    let repository = repository_of(name);
    let beside = |other: &String| other != name && repository_of(other) == repository;
    let last = !is_digest(name) && names.iter().filter(|other| beside(other)).all(|other| is_digest(other));
    let (mut gone, rest): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|other| other == name || (last && beside(other)));
    // The one that was asked for first.
    gone.sort_by_key(|other| other != name);
    (gone, rest)
}

/// What comes before `@digest` or `:tag` of a canonical name.
fn repository_of(name: &str) -> &str {
    let without_digest = name.split_once('@').map_or(name, |(repository, _)| repository);
    match without_digest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => without_digest,
    }
}

/// Deletes an image's row; hides it where containers need its layers.
fn delete(db: &Connection, image: &str, untagged: Vec<String>, hide: bool) -> Result<Removed, Failure> {
    let deleted = Some(id(image)?);
    if hide {
        db.execute("DELETE FROM names WHERE image = ?", [image])?;
        db.execute("UPDATE images SET hidden = 1 WHERE id = ?", [image])?;
        return Ok(Removed { untagged, deleted, layers: Vec::new() });
    }
    let layers = released(db, image)?;
    if db.execute("DELETE FROM images WHERE id = ? AND NOT hidden", [image])? == 0 {
        return Err(Error::NotFound { what: "image", name: image.to_owned() }.into());
    }
    Ok(Removed { untagged, deleted, layers })
}

/// The chains of an image's layers that no other image begins with, topmost first.
fn released(db: &Connection, image: &str) -> rusqlite::Result<Vec<Digest>> {
    let layers: Vec<Digest> = db
        .prepare_cached("SELECT diff_id FROM image_layers WHERE image = ? ORDER BY position")?
        .query_map([image], |row| digest_column(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    // Another image with this layer here and the same ones below it.
    let mut shared = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM image_layers other
           WHERE other.diff_id = ?1 AND other.position = ?2 AND other.image <> ?3
           AND NOT EXISTS (SELECT 1 FROM image_layers below WHERE below.image = ?3 AND below.position < ?2
             AND NOT EXISTS (SELECT 1 FROM image_layers same WHERE same.image = other.image
               AND same.position = below.position AND same.diff_id = below.diff_id)))",
    )?;
    let mut released = Vec::new();
    for length in (1..=layers.len()).rev() {
        let chain = layers.get(..length).unwrap_or_default();
        let Some(top) = chain.last() else { break };
        let position = i64::try_from(length - 1).unwrap_or(i64::MAX);
        if shared.query_row(params![top.to_string(), position, image], |row| row.get(0))? {
            break;
        }
        released.push(chain_id(chain));
    }
    Ok(released)
}

#[cfg(test)]
#[path = "removal_tests.rs"]
mod tests;
