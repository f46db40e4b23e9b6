//! Manifests and indexes: the requests, and what is checked of the answers.

use serde::Deserialize;
use ureq::http::{Method, header};

use super::endpoint::Endpoint;
use super::error::{Error, Result};
use super::http::{Answer, Request, shown};
use super::repository::{Document, is_unsupported};
use crate::image::Digest;
use crate::image::spec::{MAX_DOCUMENT, media_type};

/// Both are docker's of before 2015.
const SCHEMA1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// The kinds of document that are asked for.
fn accept() -> String {
    [media_type::OCI_INDEX, media_type::DOCKER_LIST, media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST]
        .join(", ")
}

/// The digest that a tag means, if the server says it without the document.
pub fn resolve(endpoint: &Endpoint, tag: &str) -> Result<Option<Digest>> {
    let request = Request::new(Method::HEAD).header(header::ACCEPT, accept());
    let digest = |answer: Answer| {
        let said = answer.response.headers().get("Docker-Content-Digest");
        Ok(said.and_then(|value| value.to_str().ok()?.parse().ok()))
    };
    match endpoint.send(&format!("/manifests/{tag}"), &request, digest) {
        Err(error) if is_unsupported(&error) => Ok(None),
        result => result,
    }
}

pub fn get(endpoint: &Endpoint, reference: &str) -> Result<Document> {
    let request = Request::new(Method::GET).header(header::ACCEPT, accept());
    endpoint.send(&format!("/manifests/{reference}"), &request, |answer| read(answer, reference))
}

fn read(mut answer: Answer, reference: &str) -> Result<Document> {
    let media_type = answer.response.body().mime_type().unwrap_or_default().to_owned();
    let url = shown(&answer.url);
    let bytes = answer.document(MAX_DOCUMENT)?;
    let digest = Digest::of(&bytes);
    if let Ok(expected) = reference.parse::<Digest>()
        && expected != digest
    {
        return Err(Error::Digest { url, expected, found: digest });
    }
    if is_schema1(&media_type, &bytes) {
        return Err(Error::Schema1(url));
    }
    Ok(Document { digest, media_type, bytes })
}

fn is_schema1(media_type: &str, bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Version {
        #[serde(rename = "schemaVersion")]
        version: u32,
    }
    let says_so = || serde_json::from_slice(bytes).is_ok_and(|Version { version }| version == 1);
    SCHEMA1.contains(&media_type) || says_so()
}
