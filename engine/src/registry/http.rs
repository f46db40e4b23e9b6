//! HTTP as registries speak it.

use std::time::Duration;

use ureq::Agent;
use ureq::http::{Response, StatusCode};

use super::error::{Error, Result};
use crate::text::escape;

/// Limits of what a registry may make us wait for and keep.
const CONNECT: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(60);
const MAX_HEADERS: usize = 64 << 10;
/// Of an error's text.
const MAX_SAID: u64 = 8 << 10;

pub fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(MAX_HEADERS)
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .timeout_per_write(Some(SILENCE))
        .user_agent(concat!("hull/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

pub fn failed(url: &str, source: ureq::Error) -> Error {
    Error::Request { url: url.to_owned(), source: Box::new(source) }
}

/// The response if it is a success; else what the registry said.
pub fn accepted(url: &str, mut response: Response<ureq::Body>) -> Result<Response<ureq::Body>> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    if status == StatusCode::NOT_FOUND {
        return Err(Error::NotFound(url.to_owned()));
    }
    let said = response.body_mut().with_config().limit(MAX_SAID).lossy_utf8(true).read_to_string();
    let said = escape(said.unwrap_or_default().trim()).to_string();
    Err(Error::Status { url: url.to_owned(), status: status.as_u16(), said })
}
