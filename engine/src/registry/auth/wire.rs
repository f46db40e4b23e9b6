//! What goes over the network for logins: requests to a registry, and to the token server that it names.

use std::fmt::Write as _;

use ureq::http::Response;
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder};

use super::names::DOCKER;
use crate::registry::settings::{Settings, is_loopback};
use crate::registry::{Error, Result, http};

/// Docker Hub's registry, which answers under another name than the one in images' names.
const DOCKER_HOST: &str = "registry-1.docker.io";
/// Of an answer.
const MAX_BODY: u64 = 1 << 20;

/// Names and values, for a query or a form.
pub type Fields<'f> = [(&'static str, &'f str)];

/// Redirects are not followed: a password goes to whom it is for.
pub struct Wire {
    agent: Agent,
    base: String,
}

/// An answer, whatever it says.
pub struct Reply {
    pub url: String,
    pub status: u16,
    /// `WWW-Authenticate`
    pub challenges: Vec<String>,
    /// A list goes on (RFC 8288, as the distribution-spec uses it).
    pub has_next: bool,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Wire {
    pub fn new(settings: &Settings, registry: &str) -> Self {
        let _ = settings;
        let host = if registry == DOCKER { DOCKER_HOST } else { registry };
        let scheme = if is_loopback(registry) { "http" } else { "https" };
        Self { agent: http::agent(), base: format!("{scheme}://{host}") }
    }

    /// Docker Hub's index of names.
    pub fn index() -> Self {
        Self { agent: http::agent(), base: "https://index.docker.io".to_owned() }
    }

    /// Asks the registry for a path.
    pub fn registry(&self, path: &str, query: &Fields<'_>, authorization: Option<&str>) -> Result<Reply> {
        self.get(&format!("{}{path}", self.base), query, authorization)
    }

    pub fn get(&self, url: &str, query: &Fields<'_>, authorization: Option<&str>) -> Result<Reply> {
        let asked = with_query(url, query);
        read(url, authorized(self.agent.get(asked), authorization).call())
    }

    pub fn post(&self, url: &str, form: &Fields<'_>) -> Result<Reply> {
        let request = self.agent.post(url).header("Content-Type", "application/x-www-form-urlencoded");
        read(url, request.send(encode(form)))
    }
}

/// A URL, which may have a query already, with more of it.
fn with_query(url: &str, query: &Fields<'_>) -> String {
    match (query.is_empty(), url.contains('?')) {
        (true, _) => url.to_owned(),
        (false, false) => format!("{url}?{}", encode(query)),
        (false, true) => format!("{url}&{}", encode(query)),
    }
}

/// `a=b&c=d`, everything but unreserved characters encoded (RFC 3986, 2.3).
fn encode(fields: &Fields<'_>) -> String {
    let pair = |(name, value): &(&str, &str)| {
        let value: String = value.bytes().fold(String::new(), |mut text, byte| {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
                other => drop(write!(text, "%{other:02X}")),
            }
            text
        });
        format!("{name}={value}")
    };
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn authorized(request: RequestBuilder<WithoutBody>, value: Option<&str>) -> RequestBuilder<WithoutBody> {
    match value {
        Some(value) => request.header("Authorization", value),
        None => request,
    }
}

fn read(url: &str, sent: Result<Response<Body>, ureq::Error>) -> Result<Reply> {
    let mut response = sent.map_err(|error| http::failed(url, error))?;
    let challenges = response.headers().get_all("WWW-Authenticate").iter();
    let challenges = challenges.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
    let body = response.body_mut().with_config().limit(MAX_BODY).read_to_vec().map_err(|e| match e {
        ureq::Error::BodyExceedsLimit(limit) => Error::TooLarge { url: url.to_owned(), limit },
        other => http::failed(url, other),
    })?;
    let has_next = response.headers().get("Link").is_some_and(|link| link.as_bytes().starts_with(b"<"));
    Ok(Reply { url: url.to_owned(), status: response.status().as_u16(), challenges, has_next, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded_and_added_to_what_there_is() {
        let fields = [("scope", "repository:a/b:pull,push"), ("q", "\u{fc} &=+%\n")];
        let encoded = "scope=repository%3Aa%2Fb%3Apull%2Cpush&q=%C3%BC%20%26%3D%2B%25%0A";
        assert_eq!(with_query("https://x/t", &fields), format!("https://x/t?{encoded}"));
        assert_eq!(with_query("https://x/t?a=b", &fields), format!("https://x/t?a=b&{encoded}"));
        assert_eq!(with_query("https://x/t", &[]), "https://x/t");
    }
}
