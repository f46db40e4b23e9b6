//! One name's images at a registry.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use ureq::http::{Method, StatusCode, header};

use super::blob::BlobReader;
use super::document;
use super::endpoint::Endpoint;
use super::error::{Error, Result};
use super::http::{Payload, Request};
use super::limits::Limits;
use super::server::{Server, Surroundings};
use super::settings::Settings;
use super::tags;
use super::upload;
use crate::image::spec::Descriptor;
use crate::image::{Digest, Reference};

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
    /// Mirrors, in their order, and at the end the registry itself.
    endpoints: Arc<[Endpoint]>,
}

impl Repository {
    /// Makes no connection. For pulls the mirrors come first that the settings have for the registry.
    pub fn open(settings: &Settings, name: &Reference, access: Access) -> Result<Self> {
        Self::open_in(&Surroundings::new(), settings, name, access)
    }

    pub(super) fn open_in(
        around: &Surroundings,
        settings: &Settings,
        name: &Reference,
        access: Access,
    ) -> Result<Self> {
        let mut endpoints = Vec::new();
        let wanted = (name.repository.as_str(), access);
        // A mirror gets one try: the registry itself is the second.
        let once = Arc::new(Limits { tries: 1, ..(*around.limits).clone() });
        let mirrored = Surroundings { limits: Arc::clone(&once), ..around.clone() };
        if access == Access::Pull {
            for url in settings.mirrors_of(&name.registry) {
                let server = Server::mirror(settings, url, &mirrored)?;
                let host = server.authority().to_owned();
                endpoints.push(Endpoint::new(settings, (&host, server), wanted, Arc::clone(&once)));
            }
        }
        let server = Server::registry(settings, &name.registry, around)?;
        let own = (name.registry.as_str(), server);
        endpoints.push(Endpoint::new(settings, own, wanted, Arc::clone(&around.limits)));
        Ok(Self { endpoints: endpoints.into() })
    }

    /// The digest that a tag means now. `None` where the registry does not say it without the document.
    pub fn resolve(&self, tag: &str) -> Result<Option<Digest>> {
        self.first(|endpoint| document::resolve(endpoint, tag))
    }

    /// A manifest or index, by tag or by digest; of a digest it is checked against that.
    pub fn manifest(&self, reference: &str) -> Result<Document> {
        self.first(|endpoint| document::get(endpoint, reference))
    }

    /// A blob's bytes: exactly as many as the descriptor says, or an error. The digest is for the
    /// reader to check. A connection that breaks is taken up again where it broke.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let reader = BlobReader::open(Arc::clone(&self.endpoints), descriptor.digest, descriptor.size)?;
        Ok(Box::new(reader))
    }

    /// All tags, in the registry's order.
    pub fn tags(&self) -> Result<Vec<String>> {
        self.first(tags::list)
    }

    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let path = format!("/blobs/{digest}");
        match self.own()?.send(&path, &Request::new(Method::HEAD), |_| Ok(())) {
            Ok(()) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a blob of another repository of the registry this one's, too. `false`: the registry does
    /// not have it there, or does not do that.
    pub fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool> {
        upload::mount(self.own()?, digest, from)
    }

    /// Uploads a blob, from the beginning of `file`. `progress` hears of the bytes sent so far, which
    /// become fewer again where it has to begin anew.
    pub fn upload_blob(&self, digest: &Digest, file: &File, progress: &(dyn Fn(u64) + Sync)) -> Result<()> {
        upload::blob(self.own()?, digest, file, progress)
    }

    /// Stores a manifest under a tag or its digest.
    pub fn put_manifest(&self, reference: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let mut request = Request::new(Method::PUT).header(header::CONTENT_TYPE, media_type);
        request.payload = Payload::Bytes(bytes);
        self.own()?.send(&format!("/manifests/{reference}"), &request, |_| Ok(()))
    }

    /// What the first endpoint says that has it; if none has, what the registry itself says.
    fn first<T>(&self, ask: impl Fn(&Endpoint) -> Result<T>) -> Result<T> {
        let own = self.own()?;
        let mirrors = self.endpoints.iter().take(self.endpoints.len() - 1);
        let found = mirrors.filter(|mirror| !mirror.is_down()).find_map(|mirror| ask(mirror).ok());
        found.map_or_else(|| ask(own), Ok)
    }

    fn own(&self) -> Result<&Endpoint> {
        self.endpoints.last().ok_or_else(|| Error::Url(String::new()))
    }
}

/// Whether a registry does not do what was asked at all.
pub(super) fn is_unsupported(error: &Error) -> bool {
    let codes = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
    matches!(error, Error::Status { status, .. } if codes.iter().any(|code| code.as_u16() == *status))
}
