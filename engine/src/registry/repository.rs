//! One name's images at a registry.

use std::fs::File;
use std::io::Read;

use ureq::Agent;

use super::error::{Error, Result};
use super::http;
use super::settings::{self, Settings};
use crate::image::spec::{Descriptor, MAX_DOCUMENT, media_type};
use crate::image::{Digest, Reference};

/// What docker.io's registry is called.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// What is going to be done, as tokens are asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Pull,
    Push,
}

/// A manifest or index, as it came.
#[derive(Debug, Clone)]
pub struct Document {
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// Shared by the threads of a pull.
pub struct Repository {
    agent: Agent,
    /// `https://host/v2/name`
    base: String,
}

impl Repository {
    pub fn open(settings: &Settings, name: &Reference, access: Access) -> Result<Self> {
        let _ = (settings, access);
        let host = if name.registry == "docker.io" { DOCKER_HOST } else { &name.registry };
        let scheme = if settings::is_loopback(&name.registry) { "http" } else { "https" };
        let base = format!("{scheme}://{host}/v2/{}", name.repository);
        Ok(Self { agent: http::agent(), base })
    }

    /// The digest that a tag means now. `None` where the registry does not say it without the document.
    pub fn resolve(&self, tag: &str) -> Result<Option<Digest>> {
        let url = format!("{}/manifests/{tag}", self.base);
        let request = self.agent.head(&url).header("Accept", accept());
        let response = http::accepted(&url, request.call().map_err(|e| http::failed(&url, e))?)?;
        let said = response.headers().get("Docker-Content-Digest").and_then(|value| value.to_str().ok());
        Ok(said.and_then(|digest| digest.parse().ok()))
    }

    /// A manifest or index, by tag or by digest; of a digest it is checked against that.
    pub fn manifest(&self, reference: &str) -> Result<Document> {
        let url = format!("{}/manifests/{reference}", self.base);
        let request = self.agent.get(&url).header("Accept", accept());
        let mut response = http::accepted(&url, request.call().map_err(|e| http::failed(&url, e))?)?;
        let media_type = response.body().mime_type().unwrap_or_default().to_owned();
        let bytes =
            response.body_mut().with_config().limit(MAX_DOCUMENT).read_to_vec().map_err(|e| match e {
                ureq::Error::BodyExceedsLimit(limit) => Error::TooLarge { url: url.clone(), limit },
                other => http::failed(&url, other),
            })?;
        let digest = Digest::of(&bytes);
        match reference.parse::<Digest>() {
            Ok(expected) if expected != digest => Err(Error::Digest { url, expected, found: digest }),
            _ => Ok(Document { digest, media_type, bytes }),
        }
    }

    /// A blob's bytes: exactly as many as the descriptor says, or an error. The digest is for the
    /// reader to check. A connection that breaks is taken up again where it broke.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let url = format!("{}/blobs/{}", self.base, descriptor.digest);
        let response = http::accepted(&url, self.agent.get(&url).call().map_err(|e| http::failed(&url, e))?)?;
        Ok(Box::new(
            response.into_body().into_with_config().limit(descriptor.size.saturating_add(1)).reader(),
        ))
    }

    /// All tags, in the registry's order.
    pub fn tags(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Tags {
            tags: Option<Vec<String>>,
        }
        let url = format!("{}/tags/list", self.base);
        let mut response =
            http::accepted(&url, self.agent.get(&url).call().map_err(|e| http::failed(&url, e))?)?;
        let bytes = response.body_mut().with_config().limit(MAX_DOCUMENT).read_to_vec();
        let bytes = bytes.map_err(|e| http::failed(&url, e))?;
        let tags: Tags =
            serde_json::from_slice(&bytes).map_err(|_| Error::Malformed { url, what: "list of tags" })?;
        Ok(tags.tags.unwrap_or_default())
    }

    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let url = format!("{}/blobs/{digest}", self.base);
        let response = self.agent.head(&url).call().map_err(|e| http::failed(&url, e))?;
        match http::accepted(&url, response) {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a blob of another repository of the registry this one's, too. `false`: the registry does
    /// not have it there, or does not do that.
    pub fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool> {
        let url = format!("{}/blobs/uploads/?mount={digest}&from={from}", self.base);
        let response = self.agent.post(&url).send_empty().map_err(|e| http::failed(&url, e))?;
        Ok(http::accepted(&url, response)?.status() == ureq::http::StatusCode::CREATED)
    }

    /// Uploads a blob, from the beginning of `file`. `progress` hears of the bytes sent so far.
    pub fn upload_blob(&self, digest: &Digest, file: &File, progress: &(dyn Fn(u64) + Sync)) -> Result<()> {
        let _ = progress;
        let url = format!("{}/blobs/uploads/", self.base);
        let response =
            http::accepted(&url, self.agent.post(&url).send_empty().map_err(|e| http::failed(&url, e))?)?;
        let location = response.headers().get("Location").and_then(|value| value.to_str().ok());
        let location = location.ok_or(Error::Malformed { url, what: "answer to an upload" })?;
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={digest}");
        let request = self.agent.put(&url).header("Content-Type", "application/octet-stream");
        let response = request.send(file).map_err(|e| http::failed(&url, e))?;
        http::accepted(&url, response).map(drop)
    }

    /// Stores a manifest under a tag or its digest.
    pub fn put_manifest(&self, reference: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let url = format!("{}/manifests/{reference}", self.base);
        let request = self.agent.put(&url).header("Content-Type", media_type);
        http::accepted(&url, request.send(bytes).map_err(|e| http::failed(&url, e))?).map(drop)
    }
}

/// The kinds of document that are asked for.
fn accept() -> String {
    [media_type::OCI_INDEX, media_type::DOCKER_LIST, media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST]
        .join(", ")
}
