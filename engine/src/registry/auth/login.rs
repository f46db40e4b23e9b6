//! `hull login`: is a user who they say?

use super::challenge::Challenge;
use super::credentials::{Credentials, Secret, basic};
use super::error::{Error, Result};
use super::token::{self, Question, check_realm, is_plain};
use super::wire::{Reply, Wire};
use crate::registry::Settings;
use crate::registry::said::said;

/// Asks a registry whether it takes a user and their password. What is to be kept of them: the password, or
/// the identity token that the registry's token server gave in its place.
pub fn check(settings: &Settings, registry: &str, user: &str, password: &Secret) -> Result<Credentials> {
    let login = Credentials::Password { user: user.to_owned(), password: password.clone() };
    let wire = Wire::new(settings, registry).map_err(Box::new)?;
    let reply = wire.registry("/v2/", &[], None).map_err(Box::new)?;
    if reply.status != 401 {
        return accepted(registry, &reply).map(|()| login);
    }
    let challenge = Challenge::choose(reply.challenges.iter().map(String::as_str))
        .ok_or_else(|| Error::UnknownChallenge(registry.to_owned()))?;
    let incorrect = || Error::Incorrect { registry: registry.to_owned() };
    let (header, login) = match challenge {
        Challenge::Basic => (basic(user, password), login),
        Challenge::Bearer { realm, service, .. } => {
            check_realm(registry, wire.is_plain() || is_plain(settings, registry), &realm)?;
            let question = Question {
                registry,
                realm: &realm,
                service: service.as_deref(),
                scopes: &[],
                credentials: Some(&login),
                offline: true,
            };
            let token = token::fetch(&wire, &question).map_err(|error| match error {
                Error::Unauthorized { .. } => incorrect(),
                other => other,
            })?;
            let kept = token.identity.map(|token| Credentials::Identity { user: user.to_owned(), token });
            (format!("Bearer {}", token.token.reveal()), kept.unwrap_or(login))
        }
    };
    let reply = wire.registry("/v2/", &[], Some(&header)).map_err(Box::new)?;
    if reply.status == 401 {
        return Err(incorrect());
    }
    accepted(registry, &reply).map(|()| login)
}

fn accepted(registry: &str, reply: &Reply) -> Result<()> {
    if reply.is_success() {
        return Ok(());
    }
    let (url, said) = (reply.url.clone(), said(&reply.body));
    Err(Error::Ping { registry: registry.to_owned(), url, status: reply.status, said })
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
