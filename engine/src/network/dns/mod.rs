//! Names as containers see them: the answers to their questions, and the files that say where to ask.
//!
//! A sandbox's agent listens on 127.0.0.11 in the sandbox and passes questions on as they come; the supervisor
//! answers ([`serve()`]). Names of containers on shared networks are found in the database at the moment of the
//! question. Everything else is asked of the host's resolvers, or of those that `--dns` names. Nothing on the
//! host listens for questions.
//!
//! Names come from users, who choose those of containers, aliases and hosts; never from images.

pub mod directory;
mod files;
mod forward;
mod frames;
pub mod policy;
pub mod question;
mod rate;
mod remembered;
mod resolv_conf;
mod serve;
mod upstream;
pub mod wants;
mod wire;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use directory::Directory;
pub use files::{FileLink, Files, HostFiles};
pub use frames::StreamError;
pub use policy::Policy;
pub use remembered::Remembered;
pub use serve::{DnsContext, Names, serve};
pub use upstream::Upstream;
