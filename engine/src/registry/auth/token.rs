//! Tokens, from the server that a registry's challenge names: distribution's "Token Authentication
//! Specification" for GET, its "OAuth2 Token Authentication" for POST.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use ureq::http::Uri;

use super::credentials::{Credentials, Secret, basic};
use super::error::{Error, Result};
use super::wire::{Fields, Reply, Wire};
use crate::registry::said::said;
use crate::registry::settings::{Settings, is_loopback};
use crate::text::escape;

/// What fits into a header.
const MAX_TOKEN: usize = 48 << 10;
const MAX_REALM: usize = 2048;
/// How much of an error's text is shown.
const MAX_SAID: usize = 500;
/// What tokens live at least, and if nothing is said.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Who asks, as docker says it: servers know the name.
const CLIENT: &str = "docker";

/// What is asked of a token server.
pub struct Question<'q> {
    pub registry: &'q str,
    pub realm: &'q str,
    pub service: Option<&'q str>,
    pub scopes: &'q [String],
    pub credentials: Option<&'q Credentials>,
    /// Ask for an identity token, too, which a login keeps in the password's place.
    pub offline: bool,
}

#[derive(Debug)]
pub struct Token {
    pub token: Secret,
    pub expires: Instant,
    pub identity: Option<Secret>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Value,
}

/// Whether the user lets a registry be asked over http, and with it its token server.
pub fn is_plain(settings: &Settings, registry: &str) -> bool {
    settings.of(registry).insecure || is_loopback(registry)
}

/// Whether a realm may be asked, and be sent a password. A registry that is not plain, over http, does not
/// send us to a server that is, nor one on the network to this machine.
pub fn check_realm(registry: &str, is_plain: bool, realm: &str) -> Result<()> {
    let refused = |problem| {
        let realm = escape(realm.get(..MAX_SAID).unwrap_or(realm)).to_string();
        Err(Error::Realm { registry: registry.to_owned(), realm, problem })
    };
    let Some(uri) = (realm.len() <= MAX_REALM).then(|| realm.parse::<Uri>().ok()).flatten() else {
        return refused("which is no URL");
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return refused("which is no URL");
    };
    match scheme {
        "https" => {}
        "http" if is_plain => {}
        "http" => return refused("which is not https"),
        _ => return refused("which is neither https nor http"),
    }
    if authority.as_str().contains('@') {
        return refused("which has a user in it");
    }
    if is_loopback(authority.as_str()) && !is_loopback(registry) {
        return refused("which is on this machine");
    }
    Ok(())
}

/// Asks for a token. The realm is one that may be asked.
pub fn fetch(wire: &Wire, question: &Question<'_>) -> Result<Token> {
    match question.credentials {
        Some(Credentials::Identity { token, .. }) => {
            let grant = [("grant_type", "refresh_token"), ("refresh_token", token.reveal())];
            accept(question, post(wire, question, &grant)?)
        }
        Some(Credentials::Password { user, password }) => {
            let response = get(wire, question, Some((user, password)))?;
            if !matches!(response.status, 404 | 405) {
                return accept(question, response);
            }
            // A server that knows nothing but OAuth2.
            let mut grant = vec![
                ("grant_type", "password"),
                ("username", user.as_str()),
                ("password", password.reveal()),
            ];
            if question.offline {
                grant.push(("access_type", "offline"));
            }
            accept(question, post(wire, question, &grant)?)
        }
        Some(Credentials::Registry(_)) | None => accept(question, get(wire, question, None)?),
    }
}

fn get(wire: &Wire, question: &Question<'_>, login: Option<(&String, &Secret)>) -> Result<Reply> {
    let mut query: Vec<(&str, &str)> = Vec::new();
    query.extend(question.service.map(|service| ("service", service)));
    query.extend(question.scopes.iter().map(|scope| ("scope", scope.as_str())));
    query.extend(login.map(|(user, _)| ("account", user.as_str())));
    if question.offline {
        query.extend([("offline_token", "true"), ("client_id", CLIENT)]);
    }
    let header = login.map(|(user, password)| basic(user, password));
    wire.get(question.realm, &query, header.as_deref()).map_err(|error| Box::new(error).into())
}

fn post(wire: &Wire, question: &Question<'_>, grant: &Fields<'_>) -> Result<Reply> {
    let scope = question.scopes.join(" ");
    let mut form = grant.to_vec();
    form.push(("client_id", CLIENT));
    form.extend(question.service.map(|service| ("service", service)));
    form.push(("scope", &scope));
    wire.post(question.realm, &form).map_err(|error| Box::new(error).into())
}

fn accept(question: &Question<'_>, reply: Reply) -> Result<Token> {
    let registry = question.registry.to_owned();
    let server = question.realm.parse::<Uri>().ok();
    let server = server.and_then(|uri| uri.authority().map(ToString::to_string)).unwrap_or_default();
    let failed = |problem: String| {
        Err(Error::Token {
            server: escape(&server).to_string(),
            registry: question.registry.to_owned(),
            problem,
        })
    };
    match (reply.status, question.credentials) {
        (401 | 403, Some(_)) => Err(Error::Unauthorized { registry, said: said(&reply.body) }),
        (401 | 403, None) => Err(Error::LoginNeeded(registry)),
        _ if !reply.is_success() => Err(Box::new(reply.refused()).into()),
        // The parser's words could quote a token.
        _ => match serde_json::from_slice(&reply.body) {
            Ok(answer) => token_of(answer).or_else(|problem| failed(problem.into())),
            Err(_) => failed("its answer is not the JSON of a token".into()),
        },
    }
}

fn token_of(answer: Answer) -> Result<Token, &'static str> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let token = given(answer.access_token).or(given(answer.token)).ok_or("its answer has no token")?;
    // What is sent in a header has no spaces and no line ends (RFC 6750, 2.1, and what servers make of it).
    if token.len() > MAX_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("its token cannot be one");
    }
    let lifetime = answer.expires_in.as_u64().map_or(SHORTEST, Duration::from_secs).clamp(SHORTEST, LONGEST);
    let identity = given(answer.refresh_token).filter(|token| token.len() <= MAX_TOKEN).map(Secret::new);
    Ok(Token { token: Secret::new(token), expires: Instant::now() + lifetime, identity })
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
