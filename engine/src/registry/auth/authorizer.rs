//! Answers to a registry's challenges.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::challenge::Challenge;
use super::credentials::{Credentials, basic};
use super::error::{Error, Result};
use super::keychain::Keychain;
use super::token::{self, Question};
use super::wire::Wire;
use crate::registry::{Access, Settings};

/// Scopes that a challenge may add to ours.
const MAX_SCOPES: usize = 8;
const MAX_SCOPE: usize = 1024;

/// What a token is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// As the registry knows it; empty for none at all.
    pub repository: String,
    pub access: Access,
    /// Repositories that blobs are mounted from.
    pub also_pull_from: Vec<String>,
}

impl Scope {
    pub fn new(repository: &str, access: Access) -> Self {
        Self { repository: repository.to_owned(), access, also_pull_from: Vec::new() }
    }

    /// Nothing but what the challenge itself asks for.
    pub fn none() -> Self {
        Self::new("", Access::Pull)
    }

    /// In the words of distribution's "Token Scope Documentation".
    fn words(&self) -> Vec<String> {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let own = (!self.repository.is_empty()).then(|| format!("repository:{}:{actions}", self.repository));
        let others = self.also_pull_from.iter().map(|name| format!("repository:{name}:pull"));
        own.into_iter().chain(others).collect()
    }
}

/// Says how to authorize requests to one registry. Shared by the threads of a pull; one of them asks for a
/// token, the others wait for it. Nothing is read or asked before a registry refused a request.
#[derive(Debug)]
pub struct Authorizer {
    settings: Settings,
    registry: String,
    wire: Wire,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Once they were looked for.
    credentials: Option<Option<Credentials>>,
    headers: Vec<Header>,
}

/// An `Authorization` that works, or did.
struct Header {
    scopes: Vec<String>,
    value: String,
    /// `None`: as long as the password is what it is.
    expires: Option<Instant>,
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header").field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

impl Authorizer {
    /// For a registry by its name in images' names, `docker.io` or `host[:port]`.
    pub fn new(settings: &Settings, registry: &str, wire: Wire) -> Self {
        let (settings, registry) = (settings.clone(), registry.to_owned());
        Self { settings, registry, wire, state: Mutex::default() }
    }

    /// With a login that is not stored.
    #[cfg(test)]
    pub(super) fn with(settings: &Settings, registry: &str, credentials: Option<Credentials>) -> Self {
        let state = State { credentials: Some(credentials), headers: Vec::new() };
        Self {
            state: Mutex::new(state),
            ..Self::new(settings, registry, Wire::new(settings, registry).unwrap())
        }
    }

    /// The `Authorization` that an earlier request of that scope needed, while it is good. Asks nobody.
    pub fn known(&self, scope: &Scope) -> Option<String> {
        self.state().known(&scope.words(), None)
    }

    /// What to send in `Authorization` after a 401 with these `WWW-Authenticate` headers. `refused` is
    /// the value that the request had, if any: it is not given again. `None` where a login is needed and
    /// there is none.
    pub fn header_for<'c>(
        &self,
        challenges: impl IntoIterator<Item = &'c str>,
        scope: &Scope,
        refused: Option<&str>,
    ) -> Result<Option<String>> {
        let scopes = scope.words();
        let mut state = self.state();
        // Another thread may have asked meanwhile.
        if let Some(value) = state.known(&scopes, refused) {
            return Ok(Some(value));
        }
        state.headers.retain(|header| header.scopes != scopes);
        let challenge =
            Challenge::choose(challenges).ok_or_else(|| Error::UnknownChallenge(self.registry.clone()))?;
        let credentials = match &state.credentials {
            Some(known) => known.clone(),
            None => Keychain::open(&self.settings)?.get(&self.registry)?,
        };
        state.credentials = Some(credentials.clone());
        let answer = self.answer(&challenge, scope, credentials.as_ref())?;
        let Some((value, expires)) = answer else { return Ok(None) };
        if refused == Some(value.as_str()) {
            return Err(self.denied(&state, ""));
        }
        state.headers.push(Header { scopes, value: value.clone(), expires });
        Ok(Some(value))
    }

    /// Why a request failed that was refused with the `Authorization` that [`Authorizer::header_for`] gave,
    /// or with none to give. `said` are the registry's words, escaped.
    pub fn failure(&self, said: &str) -> Error {
        self.denied(&self.state(), said)
    }

    fn denied(&self, state: &State, said: &str) -> Error {
        match state.credentials {
            Some(Some(_)) => Error::Unauthorized { registry: self.registry.clone(), said: said.to_owned() },
            _ => Error::LoginNeeded(self.registry.clone()),
        }
    }

    fn answer(
        &self,
        challenge: &Challenge,
        scope: &Scope,
        credentials: Option<&Credentials>,
    ) -> Result<Option<(String, Option<Instant>)>> {
        let (realm, service, asked) = match challenge {
            Challenge::Basic => {
                return Ok(match credentials {
                    Some(Credentials::Password { user, password }) => Some((basic(user, password), None)),
                    _ => None,
                });
            }
            Challenge::Bearer { realm, service, scope } => (realm, service.as_deref(), scope.as_deref()),
        };
        if let Some(Credentials::Registry(token)) = credentials {
            return Ok(Some((format!("Bearer {}", token.reveal()), None)));
        }
        let is_plain = self.wire.is_plain() || token::is_plain(&self.settings, &self.registry);
        token::check_realm(&self.registry, is_plain, realm)?;
        let scopes = with_asked(scope.words(), asked.unwrap_or_default());
        let registry = &self.registry;
        let question = Question { registry, realm, service, scopes: &scopes, credentials, offline: false };
        let token = token::fetch(&self.wire, &question)?;
        Ok(Some((format!("Bearer {}", token.token.reveal()), Some(token.expires))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn known(&self, scopes: &[String], refused: Option<&str>) -> Option<String> {
        let fits = |header: &&Header| {
            header.expires.is_none_or(|end| Instant::now() < end)
                && (header.scopes == scopes || header.expires.is_none())
                && refused != Some(header.value.as_str())
        };
        self.headers.iter().find(fits).map(|header| header.value.clone())
    }
}

/// Our scopes and the challenge's: behind a proxy the registry knows the repository by another name. Who can
/// ask for more than we want could as well ask for the password, so nothing is lost by that.
fn with_asked(mut scopes: Vec<String>, asked: &str) -> Vec<String> {
    let sane = |scope: &&str| scope.len() <= MAX_SCOPE && scope.bytes().all(|byte| byte.is_ascii_graphic());
    for scope in asked.split(' ').filter(|scope| !scope.is_empty()).filter(sane).take(MAX_SCOPES) {
        if !scopes.iter().any(|own| own == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

#[cfg(test)]
#[path = "authorizer_tests.rs"]
mod tests;
