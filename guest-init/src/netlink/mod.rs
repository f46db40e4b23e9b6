//! The kernel's network, spoken to over netlink(7): synchronously, one request and its answer at a time.
//!
//! Used by the agent inside a sandbox's network namespace and by the engine on the host.

pub mod conntrack;
mod message;
pub mod nft;
pub mod route;
mod socket;

pub use message::{Attributes, Message, attributes};
pub use rustix::io::Errno;
pub use socket::{NetlinkError, Protocol, Socket};
