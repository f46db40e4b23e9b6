//! Looking for images: docker's v1 search, which Docker Hub still has, and for other registries the catalog
//! of the distribution's API v2.

use serde::Deserialize;

use super::auth::names::DOCKER;
use super::auth::wire::{Fields, Reply, Wire};
use super::auth::{self, Authorizer, Scope};
use super::error::{Error, Result};
use super::settings::Settings;
use crate::image::Reference;

/// Names asked for at once, and how often: what is beyond that is not looked at.
const PAGE: &str = "1000";
const MAX_PAGES: usize = 100;

/// What a registry knows of the images that fit.
#[derive(Debug)]
pub enum Found {
    Images(Vec<Image>),
    /// Repositories with the term in their names; nothing else is known of them.
    Names(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Image {
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub star_count: i64,
    #[serde(default)]
    pub is_official: bool,
    #[serde(default)]
    pub is_automated: bool,
}

/// Asks a registry for at most `limit` images.
pub fn search(settings: &Settings, registry: &str, term: &str, limit: usize) -> Result<Found> {
    let wire = if registry == DOCKER { Wire::index() } else { Wire::new(settings, registry) }?;
    let authorizer = Authorizer::new(settings, registry, wire.clone());
    let count = limit.to_string();
    let reply = ask(&wire, &authorizer, "/v1/search", &[("q", term), ("n", &count)])?;
    let images = images(&reply);
    match images {
        Some(images) if reply.is_success() => Ok(Found::Images(images.into_iter().take(limit).collect())),
        _ if registry == DOCKER || reply.status == 429 || reply.status >= 500 => Err(reply.refused()),
        _ => catalog(&wire, &authorizer, (registry, term), limit).map(Found::Names),
    }
}

fn images(reply: &Reply) -> Option<Vec<Image>> {
    #[derive(Deserialize)]
    struct Results {
        results: Vec<Image>,
    }
    serde_json::from_slice::<Results>(&reply.body).ok().map(|answer| answer.results)
}

/// OCI's distribution-spec has no catalog, but most registries do.
/// <https://distribution.github.io/distribution/spec/api/#catalog>
fn catalog(
    wire: &Wire,
    authorizer: &Authorizer,
    (registry, term): (&str, &str),
    limit: usize,
) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Page {
        repositories: Option<Vec<String>>,
    }
    let mut found = Vec::new();
    let mut last = String::new();
    for _ in 0..MAX_PAGES {
        let from = [("n", PAGE), ("last", last.as_str())];
        let query = if last.is_empty() { from.get(..1).unwrap_or_default() } else { &from };
        let reply = ask(wire, authorizer, "/v2/_catalog", query)?;
        let page = serde_json::from_slice::<Page>(&reply.body).ok().filter(|_| reply.is_success());
        let Some(page) = page else {
            return Err(match reply.status {
                401 => authorizer.failure("").into(),
                429 | 500.. => reply.refused(),
                _ => Error::NoSearch(registry.to_owned()),
            });
        };
        let names = page.repositories.unwrap_or_default();
        let next = names.last().cloned().unwrap_or_default();
        let full = names.into_iter().map(|name| format!("{registry}/{name}"));
        // What is no name cannot be pulled, either.
        let fitting = full.filter(|name| named(name, term));
        found.extend(fitting.take(limit - found.len()));
        if found.len() == limit || !reply.has_next || next <= last {
            break;
        }
        last = next;
    }
    Ok(found)
}

fn named(name: &str, term: &str) -> bool {
    name.parse::<Reference>().is_ok_and(|name| name.repository.contains(&term.to_lowercase()))
}

/// One request, with a login if the registry wants one and there is one.
fn ask(wire: &Wire, authorizer: &Authorizer, path: &str, query: &Fields<'_>) -> Result<Reply> {
    let scope = Scope::none();
    let known = authorizer.known(&scope);
    let reply = wire.registry(path, query, known.as_deref())?;
    if reply.status != 401 {
        return Ok(reply);
    }
    let challenges = reply.challenges.iter().map(String::as_str);
    match authorizer.header_for(challenges, &scope, known.as_deref()) {
        Ok(Some(header)) => wire.registry(path, query, Some(&header)),
        // Of one that does not say how: it is the next question that matters.
        Ok(None) | Err(auth::Error::UnknownChallenge(_)) => Ok(reply),
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
