//! `--egress`: what a sandbox may begin to talk to.
//!
//! It is enforced where the sandbox cannot reach: packets by nftables on the host, which the sandbox's
//! addresses lead to a chain of their own, and questions for names by the supervisor, since a question that
//! goes out carries data out. A name that is allowed opens the addresses it is found to have, as long as the
//! answer says. What is refused is told as an event: packets are heard of through an nflog group.
//!
//! ```text
//!   question ──► name policy ── allowed: asked, its addresses let through for a while
//!                    └──────── else refused ─┐
//!   packet ────► nftables ──── allowed       ├──► event egress-denied
//!                    └──────── else rejected ┘
//! ```

mod enforcer;
mod log;
mod names;
mod packet;
mod parse;
mod policy;
mod rules;
mod tally;

pub use enforcer::{Denied, Enforcer};
pub use log::{Log, LogError, Watch};
pub use parse::{ParseError, parse};
pub use policy::NamePolicy;
pub use rules::rules_of;
