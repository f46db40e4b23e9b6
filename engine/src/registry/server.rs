//! One registry or mirror, and how it is reached: https, or http where that is allowed and nothing else
//! answers.

use std::sync::{Arc, Mutex, PoisonError};

use ureq::http::Uri;

use super::auth::names::DOCKER;
use super::connect_error::is_no_tls;
use super::error::{Error, Result};
use super::http::{Answer, Client, Request, shown};
use super::limits::Limits;
use super::proxy::Proxies;
use super::reach::Reach;
use super::settings::{Settings, is_loopback};
use super::tls::Trust;
use crate::resolve::Resolver;

/// What docker.io's registry is called.
const DOCKER_HOST: &str = "registry-1.docker.io";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Https,
    Http,
    /// https, and http if that finds no TLS: not known yet.
    Either,
}

/// Where connections come from: what tests replace.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub limits: Arc<Limits>,
    pub proxies: Proxies,
    pub resolver: Resolver,
}

impl Surroundings {
    pub fn new() -> Self {
        let limits = Arc::new(Limits::default());
        Self { limits, proxies: Proxies::from_environment(), resolver: Resolver::default() }
    }
}

#[derive(Debug)]
pub struct Server {
    /// `host[:port]` as URLs have it.
    authority: String,
    scheme: Mutex<Scheme>,
    client: Client,
}

impl Server {
    /// The registry of that name in images' names. On this machine, or where the user called it insecure,
    /// any certificate will do and it may speak plain http, as for docker; a `ca` that is given for a
    /// registry on this machine is meant to be checked.
    pub fn registry(settings: &Settings, name: &str, around: &Surroundings) -> Result<Self> {
        let host = if name == DOCKER { DOCKER_HOST } else { name };
        let is_lax = is_lax(settings, name);
        Self::open(settings, (name, host), if is_lax { Scheme::Either } else { Scheme::Https }, around)
    }

    /// A mirror by its URL, which has neither user nor path.
    pub fn mirror(settings: &Settings, url: &str, around: &Surroundings) -> Result<Self> {
        let parsed: Option<Uri> = url.parse().ok();
        let parts = parsed.as_ref().and_then(|url| Some((url.scheme_str()?, url.authority()?.as_str(), url)));
        let Some((scheme, authority, parsed)) = parts else { return Err(Error::Url(url.to_owned())) };
        let is_bare =
            matches!(parsed.path(), "" | "/") && parsed.query().is_none() && !authority.contains('@');
        let scheme = match scheme {
            "https" if is_bare => Scheme::Https,
            "http" if is_bare => Scheme::Http,
            _ => return Err(Error::Url(url.to_owned())),
        };
        Self::open(settings, (authority, authority), scheme, around)
    }

    fn open(
        settings: &Settings,
        (name, host): (&str, &str),
        scheme: Scheme,
        around: &Surroundings,
    ) -> Result<Self> {
        let config = settings.of(name);
        let trust = Trust::new(&config, is_lax(settings, name));
        let trust =
            trust.map_err(|source| Error::Tls { registry: name.to_owned(), source: Box::new(source) })?;
        let url: Uri = format!("https://{host}/").parse().map_err(|_| Error::Url(name.to_owned()))?;
        let bare = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let reach = Reach::new(around.resolver.clone(), (bare, url.port_u16()));
        let (proxies, limits) = (around.proxies.clone(), Arc::clone(&around.limits));
        let client = Client::new(reach, trust, scheme == Scheme::Either, proxies, limits);
        Ok(Self { authority: host.to_owned(), scheme: Mutex::new(scheme), client })
    }

    /// `host[:port]`, without scheme.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether it is asked over http, as far as that is known.
    pub fn is_plain(&self) -> bool {
        self.scheme() == Scheme::Http
    }

    /// The URL of a path as the server is asked for it now.
    pub fn url(&self, path: &str) -> Result<Uri> {
        let scheme = match self.scheme() {
            Scheme::Http => "http",
            Scheme::Https | Scheme::Either => "https",
        };
        self.parse(scheme, path)
    }

    /// Asks the server for a path, with whatever redirects lead to. The answer may be any.
    pub fn send(&self, path: &str, request: &Request<'_>, authorization: Option<&str>) -> Result<Answer> {
        let first = self.ask(path, request, authorization)?;
        self.client.follow(&first.url, request, authorization, first.response)
    }

    /// Asks for a URL that the server named, one that [`super::http::leads_to`] let pass.
    pub fn send_to(&self, url: &Uri, request: &Request<'_>, authorization: Option<&str>) -> Result<Answer> {
        let authorization = authorization.filter(|_| self.client.is_own(url));
        let first = self.ask_at(url, request, authorization)?;
        self.client.follow(url, request, authorization, first.response)
    }

    /// Asks the server for a path, and no one else.
    pub fn ask(&self, path: &str, request: &Request<'_>, authorization: Option<&str>) -> Result<Answer> {
        let url = self.url(path)?;
        let tries_http = self.scheme() == Scheme::Either;
        match self.client.send_once(&url, request, authorization) {
            Ok(response) => {
                if tries_http {
                    self.settle(Scheme::Https);
                }
                Ok(Answer { url, response, is_own: true })
            }
            Err(error) if tries_http && is_no_tls(&error) => {
                let answer = self.ask_at(&self.parse("http", path)?, request, authorization)?;
                self.settle(Scheme::Http);
                Ok(answer)
            }
            Err(error) => Err(Error::failed(&shown(&url), error)),
        }
    }

    /// Asks for a URL, and `authorization` goes to whoever that is.
    pub fn ask_at(&self, url: &Uri, request: &Request<'_>, authorization: Option<&str>) -> Result<Answer> {
        let response = self.client.send_once(url, request, authorization);
        let response = response.map_err(|error| Error::failed(&shown(url), error))?;
        Ok(Answer { url: url.clone(), response, is_own: self.client.is_own(url) })
    }

    fn parse(&self, scheme: &str, path: &str) -> Result<Uri> {
        let url = format!("{scheme}://{}{path}", self.authority);
        url.parse().map_err(|_| Error::Url(url))
    }

    fn scheme(&self) -> Scheme {
        *self.scheme.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, scheme: Scheme) {
        *self.scheme.lock().unwrap_or_else(PoisonError::into_inner) = scheme;
    }
}

/// Whether the registry's certificate is not checked.
fn is_lax(settings: &Settings, name: &str) -> bool {
    let config = settings.of(name);
    config.insecure || (is_loopback(name) && config.ca.is_none())
}
