//! What goes over the network for logins: requests to a registry, and to the token server that it names.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, Method, Uri, header};

use crate::registry::http::{Answer, Payload, Request, retry_after, shown};
use crate::registry::said::said;
use crate::registry::server::{Server, Surroundings};
use crate::registry::settings::Settings;
use crate::registry::{Error, Result};

/// Of an answer.
const MAX_BODY: u64 = 1 << 20;

/// Names and values, for a query or a form.
pub type Fields<'f> = [(&'static str, &'f str)];

/// Redirects are not followed: a password goes to whom it is for.
#[derive(Debug, Clone)]
pub struct Wire {
    server: Arc<Server>,
}

/// An answer, whatever it says.
pub struct Reply {
    pub url: String,
    pub status: u16,
    /// `WWW-Authenticate`
    pub challenges: Vec<String>,
    /// A list goes on (RFC 8288, as the distribution-spec uses it).
    pub has_next: bool,
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What it is where it is no success.
    pub fn refused(&self) -> Error {
        let (url, said) = (self.url.clone(), said(&self.body));
        Error::Status { url, status: self.status, said, retry_after: self.retry_after }
    }
}

impl Wire {
    pub fn new(settings: &Settings, registry: &str) -> Result<Self> {
        Ok(Self::over(Arc::new(Server::registry(settings, registry, &Surroundings::new())?)))
    }

    /// On connections that others use, too.
    pub fn over(server: Arc<Server>) -> Self {
        Self { server }
    }

    /// Docker Hub's index of names.
    pub fn index() -> Result<Self> {
        let index = Server::mirror(&Settings::default(), "https://index.docker.io", &Surroundings::new())?;
        Ok(Self::over(Arc::new(index)))
    }

    /// Whether the registry is one that speaks http.
    pub fn is_plain(&self) -> bool {
        self.server.is_plain()
    }

    /// Asks the registry for a path.
    pub fn registry(&self, path: &str, query: &Fields<'_>, authorization: Option<&str>) -> Result<Reply> {
        let path = with_query(path, query);
        read(self.server.ask(&path, &Request::new(Method::GET), authorization)?)
    }

    pub fn get(&self, url: &str, query: &Fields<'_>, authorization: Option<&str>) -> Result<Reply> {
        let url = parse(&with_query(url, query))?;
        read(self.server.ask_at(&url, &Request::new(Method::GET), authorization)?)
    }

    pub fn post(&self, url: &str, form: &Fields<'_>) -> Result<Reply> {
        let form = encode(form);
        let mut request =
            Request::new(Method::POST).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        request.payload = Payload::Bytes(form.as_bytes());
        read(self.server.ask_at(&parse(url)?, &request, None)?)
    }
}

fn parse(url: &str) -> Result<Uri> {
    url.parse().map_err(|_| Error::Url(crate::text::escape(url).to_string()))
}

fn read(mut answer: Answer) -> Result<Reply> {
    let headers = answer.response.headers();
    let challenges = challenges(headers).map(str::to_owned).collect();
    let has_next = headers.get(header::LINK).is_some_and(|link| link.as_bytes().starts_with(b"<"));
    let (status, retry_after) = (answer.response.status().as_u16(), retry_after(headers));
    let body = answer.document(MAX_BODY)?;
    Ok(Reply { url: shown(&answer.url), status, challenges, has_next, retry_after, body })
}

/// The values of `WWW-Authenticate`.
pub fn challenges(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok())
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
