//! Registries: OCI distribution-spec v1.1 and Docker's registry API v2, as a client.
//!
//! A [`Repository`] is one name's images at the registry that holds them, or at a mirror of it. What
//! comes from there is hostile: documents and headers are capped, blobs end at the size their
//! descriptor says, redirects are followed by hand, and every wait has a limit. Digests are checked by
//! whoever reads a blob to its end; documents come checked.

pub mod auth;
mod blob;
mod connect;
mod connect_error;
mod document;
mod endpoint;
mod error;
mod http;
mod limits;
mod proxy;
mod reach;
mod repository;
mod retry;
mod said;
pub mod search;
mod server;
pub mod settings;
mod tags;
#[cfg(test)]
pub mod test_server;
#[cfg(test)]
mod tests;
mod tls;
mod upload;
mod url;

pub use error::{Error, Result};
pub use repository::{Access, Document, Repository};
pub use settings::{RegistryConfig, Settings};
