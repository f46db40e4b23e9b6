//! The list of tags, page by page.

use serde::Deserialize;
use ureq::http::{HeaderMap, Method, header};

use super::endpoint::Endpoint;
use super::error::{Error, Result};
use super::http::{Answer, Request, leads_to, shown};
use super::url::join;
use crate::image::spec::MAX_DOCUMENT;

const MAX_PAGES: usize = 1000;
const MAX_TAGS: usize = 100_000;
/// OCI distribution-spec, "Pulling manifests": a tag has at most so many bytes.
const MAX_TAG: usize = 128;

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

/// OCI distribution-spec, "Listing Tags".
pub fn list(endpoint: &Endpoint) -> Result<Vec<String>> {
    let request = Request::new(Method::GET);
    let (mut tags, mut next) = endpoint.send("/tags/list", &request, read)?;
    for _ in 1..MAX_PAGES {
        let Some(url) = next.filter(|_| tags.len() <= MAX_TAGS) else { break };
        let (more, after) = endpoint.send_to(&url, &request, read)?;
        tags.extend(more);
        next = after;
    }
    tags.truncate(MAX_TAGS);
    Ok(tags)
}

fn read(mut answer: Answer) -> Result<(Vec<String>, Option<ureq::http::Uri>)> {
    let bytes = answer.document(MAX_DOCUMENT)?;
    let malformed = |_| Error::Malformed { url: shown(&answer.url), what: "list of tags" };
    let page: Page = serde_json::from_slice(&bytes).map_err(malformed)?;
    let tags = page.tags.unwrap_or_default();
    if tags.iter().any(|tag| tag.len() > MAX_TAG) {
        return Err(Error::Malformed { url: shown(&answer.url), what: "list of tags" });
    }
    let next = next(answer.response.headers());
    let next = next.filter(|link| join(&answer.url, link).is_some());
    let next = next.map(|link| leads_to(&answer.url, link)).transpose()?;
    Ok((tags, next))
}

/// `Link: <url>; rel="next"` (RFC 8288).
fn next(headers: &HeaderMap) -> Option<&str> {
    let links = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    links.flat_map(|value| value.split(',')).find_map(|link| {
        let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |part: &str| matches!(part.trim(), "rel=\"next\"" | "rel=next");
        parameters.split(';').any(is_next).then_some(url)
    })
}
