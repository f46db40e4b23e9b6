//! A repository at one server: requests with logins and tries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::http::{StatusCode, Uri};

use super::auth::wire::{Wire, challenges};
use super::auth::{Authorizer, Scope};
use super::error::{Error, Result};
use super::http::{Answer, MAX_SAID, Request};
use super::limits::Limits;
use super::repository::Access;
use super::retry::retrying;
use super::said::said;
use super::server::Server;
use super::settings::Settings;

#[derive(Debug)]
pub struct Endpoint {
    server: Arc<Server>,
    authorizer: Authorizer,
    scope: Scope,
    /// `/v2/name`
    base: String,
    pub limits: Arc<Limits>,
    /// It could not be reached: a mirror is not tried again.
    down: AtomicBool,
}

impl Endpoint {
    /// `registry` is what logins for the server are stored under.
    pub fn new(
        settings: &Settings,
        (registry, server): (&str, Server),
        (repository, access): (&str, Access),
        limits: Arc<Limits>,
    ) -> Self {
        let server = Arc::new(server);
        let authorizer = Authorizer::new(settings, registry, Wire::over(Arc::clone(&server)));
        let scope = Scope::new(repository, access);
        Self {
            server,
            authorizer,
            scope,
            base: format!("/v2/{repository}"),
            limits,
            down: AtomicBool::new(false),
        }
    }

    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// One try at a path of the repository, which is a success or an error.
    pub fn try_once(&self, path: &str, request: &Request<'_>) -> Result<Answer> {
        self.try_within(&self.scope, path, request)
    }

    /// As [`Endpoint::try_once`], for what needs also blobs of another repository.
    pub fn try_with(&self, other: &str, path: &str, request: &Request<'_>) -> Result<Answer> {
        let also_pull_from = vec![other.to_owned()];
        self.try_within(&Scope { also_pull_from, ..self.scope.clone() }, path, request)
    }

    fn try_within(&self, scope: &Scope, path: &str, request: &Request<'_>) -> Result<Answer> {
        let path = format!("{}{path}", self.base);
        self.authorized(scope, |authorization| {
            self.server.send(&path, request, authorization).inspect_err(|error| {
                if matches!(error, Error::Request { .. }) {
                    self.down.store(true, Ordering::Relaxed);
                }
            })
        })
    }

    /// One try at a URL that the server named.
    pub fn try_once_at(&self, url: &Uri, request: &Request<'_>) -> Result<Answer> {
        self.authorized(&self.scope, |authorization| self.server.send_to(url, request, authorization))
    }

    /// As [`Endpoint::send`], of a URL that the server named.
    pub fn send_to<T>(
        &self,
        url: &Uri,
        request: &Request<'_>,
        read: impl Fn(Answer) -> Result<T>,
    ) -> Result<T> {
        retrying(&self.limits, || self.try_once_at(url, request).and_then(&read))
    }

    /// As many tries as the limits give, of a request and of reading its answer.
    pub fn send<T>(
        &self,
        path: &str,
        request: &Request<'_>,
        read: impl Fn(Answer) -> Result<T>,
    ) -> Result<T> {
        retrying(&self.limits, || self.try_once(path, request).and_then(&read))
    }

    /// Asks, and if the registry wants another login for it than it got, once more with that.
    fn authorized(&self, scope: &Scope, ask: impl Fn(Option<&str>) -> Result<Answer>) -> Result<Answer> {
        let known = self.authorizer.known(scope);
        let mut answer = ask(known.as_deref())?;
        if !answer.is_refused() {
            return answer.accepted();
        }
        let words = said(&answer.document(MAX_SAID).unwrap_or_default());
        let challenges = challenges(answer.response.headers());
        let Some(header) = self.authorizer.header_for(challenges, scope, known.as_deref())? else {
            return Err(self.authorizer.failure(&words).into());
        };
        let mut answer = ask(Some(&header))?;
        if !answer.is_refused() {
            return answer.accepted();
        }
        let words = said(&answer.document(MAX_SAID).unwrap_or_default());
        Err(self.authorizer.failure(&words).into())
    }
}

impl Answer {
    /// The registry itself, not a place that it led to, wants a login.
    fn is_refused(&self) -> bool {
        self.is_own && self.response.status() == StatusCode::UNAUTHORIZED
    }
}
