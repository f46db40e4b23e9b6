//! Hosts, clients and an "internet" of network namespaces, for the cases of `net`.

mod dns;
pub mod frames;
mod guest;
mod host;
mod namespace;
mod server;

pub use dns::{BIG, Dns};
pub use guest::Guest;
pub use host::Host;
pub use namespace::Namespace;
pub use server::Server;
