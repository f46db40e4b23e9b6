//! The whole contract between the host and the agent.
//!
//! One call, one connection: the host connects, sends one length-prefixed JSON [`Request`] and reads
//! one JSON [`Reply`]. If the call opens a stream, the connection *is* the stream from then on: raw
//! bytes, with half-close as end of file; where all of it has to arrive, in pieces and with an outcome
//! ([`DataReader`]). Only the host opens connections.
//!
//! The host keeps both directions of a connection open until the reply: half-closing it earlier
//! cancels the call.
//!
//! Requests with unknown fields are refused with an error that names the field, since a dropped
//! restriction would weaken a container; unknown fields in replies are ignored.

mod call;
mod data;
mod dns;
mod frame;
mod network;
mod resources;
mod text;
mod types;
mod usage;
mod version;

pub use call::{CallError, ErrorKind, Outcome, Reply, Request};
pub use data::{DataError, DataReader, MAX_PIECE};
pub use dns::{
    DnsAnswer, DnsFrameError, DnsQuestion, DnsTransport, MAX_DNS_DATAGRAM, MAX_DNS_MESSAGE, MIN_DNS_MESSAGE,
};
pub use frame::{FrameError, MAX_FRAME, decode_len, read_frame, write_frame};
pub use network::{
    BadMac, BadPrefix, DisconnectArgs, Interface, Mac, NetworkConfig, NetworkNamespace, Prefix, Route,
};
pub use resources::{IoLimit, Resources, UpdateArgs};
pub use text::Text;
pub use types::*;
pub use usage::{NetworkStats, ProcessInfo, Stats};
pub use version::{FEATURES, VERSION};

/// vsock port of the agent in the guest.
pub const AGENT_PORT: u32 = 1024;

/// Host-side vsock port (CID 2) that the agent tries to connect to once it listens on
/// [`AGENT_PORT`]. The attempt is always refused; it is the doorbell that tells the VMM to let
/// waiting host connections through, so that nobody has to try again and again.
pub const READY_PORT: u32 = 1023;
