//! Blobs on their way to a registry (OCI distribution-spec, "Pushing blobs").

use std::fs::File;

use ureq::http::{Method, StatusCode, Uri, header};

use super::endpoint::Endpoint;
use super::error::{Error, Result};
use super::http::{Answer, Patience, Payload, Request, leads_to, location, shown};
use super::retry::retrying;
use crate::image::Digest;

/// `POST`, then everything in one `PUT`. Whatever breaks begins anew with a session of its own.
pub fn blob(
    endpoint: &Endpoint,
    digest: &Digest,
    file: &File,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let size = file.metadata().map_err(Error::File)?.len();
    retrying(&endpoint.limits, || {
        let session = endpoint.try_once("/blobs/uploads/", &post())?;
        let url = finish_url(&session, digest)?;
        let mut put = Request::new(Method::PUT).header(header::CONTENT_TYPE, "application/octet-stream");
        put.patience = Patience::Commit;
        put.payload = Payload::File { file, size, progress };
        endpoint.try_once_at(&url, &put).map(drop)
    })?;
    progress(size);
    Ok(())
}

/// Where the bytes go: the session's URL, which may be anywhere the registry may lead us to.
fn finish_url(session: &Answer, digest: &Digest) -> Result<Uri> {
    let malformed = || Error::Malformed { url: shown(&session.url), what: "answer to an upload" };
    let location = location(session.response.headers()).ok_or_else(malformed)?;
    let location = location.split('#').next().unwrap_or_default();
    let separator = if location.contains('?') { '&' } else { '?' };
    leads_to(&session.url, &format!("{location}{separator}digest={digest}"))
}

/// "Mounting a blob from another repository".
pub fn mount(endpoint: &Endpoint, digest: &Digest, from: &str) -> Result<bool> {
    let path = format!("/blobs/uploads/?mount={digest}&from={from}");
    let mounted = retrying(&endpoint.limits, || endpoint.try_with(from, &path, &post()));
    match mounted {
        Ok(answer) => Ok(answer.response.status() == StatusCode::CREATED),
        // Not there, not ours to read, or not done here: the blob is uploaded then.
        Err(Error::NotFound(_)) => Ok(false),
        Err(Error::Status { status: 400 | 403 | 405 | 501, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn post<'r>() -> Request<'r> {
    let mut request = Request::new(Method::POST);
    request.payload = Payload::Bytes(&[]);
    request
}
