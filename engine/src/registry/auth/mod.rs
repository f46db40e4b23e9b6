//! Logins: who one is to a registry, and how one says so.
//!
//! A registry that refuses a request says in a [challenge](challenge) what it wants: user and password in
//! each request, or a [token] from a server that it names. The [`Authorizer`] answers it, with what the
//! [`Keychain`] has: docker's `config.json` and the credential helpers that it names. Neither registries
//! nor token servers are trusted: a password goes only to the registry it was stored for and to the realm
//! that this registry names, over https where the registry has it.

mod authorizer;
#[cfg(not(fuzzing))]
mod challenge;
#[cfg(fuzzing)]
pub mod challenge;
mod config;
mod credentials;
mod error;
mod helper;
mod home;
mod keychain;
pub mod login;
pub mod names;
#[cfg(test)]
pub(super) mod test_server;
mod token;
pub(super) mod wire;

pub use authorizer::{Authorizer, Scope};
pub use credentials::{Credentials, Secret};
pub use error::{Error, Result};
pub use keychain::{Kept, Keychain};
